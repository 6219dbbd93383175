/** What an answer counted, and how sure it is; decides which tiers answer and says so where none do. */
import { BUCKET_UNITS, type BucketUnit, bucketEdges, overlaps, type TimeRange } from "./calendar.js";
import { type Fit, RangeNotKeptError } from "./query-errors.js";
import type { Snapshot } from "./snapshot.js";
import { coverBuckets, freshnessOf, type Segment, type TierState } from "./tiers.js";
import { DAY_MS } from "./time-units.js";
import { findTimeZone, type TimeZone } from "./time-zone.js";

/** Most buckets in an answer. */
export const BUCKETS_MAX = 5_000;
/** Most buckets that the service chooses of itself. */
export const AUTOMATIC_BUCKETS_MAX = 300;
/** How old an event may be that is pushed: see ingest/admission.ts. */
export const PUSH_MAX_AGE_MS = 7 * DAY_MS;

/** What was counted, and how sure it is. Times are Unix milliseconds. */
export interface Coverage extends TimeRange {
  /** Everything committed before it is counted. */
  readonly freshAt: number;
  /** No push that is still to come adds to what is before it. */
  readonly settledAt: number;
  readonly isIncomplete: boolean;
}

/** Describes ranges that were counted, the first of which is the one asked for. */
export function describeCoverage(
  snapshot: Snapshot,
  range: TimeRange,
  segments: readonly Segment[],
  now: number,
): Coverage {
  const freshAt = freshnessOf(segments, now);
  return {
    ...range,
    freshAt,
    settledAt: freshAt - PUSH_MAX_AGE_MS,
    isIncomplete: isIncomplete(snapshot, range),
  };
}

/** Whether the counts of a range are lower bounds. */
export function isIncomplete({ incomplete }: Snapshot, range: TimeRange): boolean {
  return incomplete.some((lost) => overlaps(lost, range));
}

/** The first of the units whose buckets what is kept fits, with those buckets' edges. */
export interface Fitting {
  readonly unit: BucketUnit;
  readonly edges: readonly number[];
  readonly segments: readonly Segment[];
}

/** Tries units in their order; those that give more than `maxBuckets` do not fit. */
export function findFitting(
  tiers: readonly TierState[],
  zone: TimeZone,
  range: TimeRange,
  units: readonly BucketUnit[],
  { maxBuckets, fineFrom }: { readonly maxBuckets: number; readonly fineFrom: number },
): Fitting | undefined {
  for (const unit of units) {
    const edges = bucketEdges(zone, unit, range, maxBuckets);
    const segments = edges && coverBuckets(tiers, edges, fineFrom);
    if (edges !== undefined && segments !== undefined) {
      return { unit, edges, segments };
    }
  }
  return undefined;
}

/** What is kept of a range does not fit the buckets that were asked for: says what would. */
export function notKept(
  tiers: readonly TierState[],
  zone: TimeZone,
  range: TimeRange,
  unit: BucketUnit,
): RangeNotKeptError {
  const coarser = BUCKET_UNITS.slice(BUCKET_UNITS.indexOf(unit));
  const utc = findTimeZone("UTC") as TimeZone;
  const limits = { maxBuckets: BUCKETS_MAX, fineFrom: Number.POSITIVE_INFINITY };
  for (const candidate of [zone, utc]) {
    const fitting = findFitting(tiers, candidate, range, coarser, limits);
    if (fitting !== undefined) {
      return rangeNotKept(tiers, { unit: fitting.unit, timeZone: candidate.name });
    }
  }
  return rangeNotKept(tiers, undefined);
}

function rangeNotKept(tiers: readonly TierState[], fit: Fit | undefined): RangeNotKeptError {
  const kept = tiers
    .filter(({ keptFrom }) => Number.isFinite(keptFrom))
    .map(
      ({ tier, keptFrom }) =>
        `counts by the ${WORDS[tier.name]} go back to ${new Date(keptFrom).toISOString()}`,
    );
  const advice =
    fit === undefined
      ? "nothing that is kept fits this range; begin it later"
      : `this range can be counted by the ${WORDS[fit.unit]} in ${fit.timeZone}`;
  return new RangeNotKeptError([...kept, advice].join(", "), fit);
}

const WORDS: Readonly<Record<string, string>> = {
  quarter_hour: "quarter hour",
  quarterHour: "quarter hour",
  hour: "hour",
  day: "day",
  week: "week",
  month: "month",
};
