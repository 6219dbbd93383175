/** Counts one property, section or item per bucket of time, and the period before. */
import {
  BUCKET_UNITS,
  type BucketUnit,
  bucketEdges,
  bucketStart,
  lengthOf,
  nextBucketStart,
  pairBuckets,
  rangeBefore,
  type TimeRange,
  type WallShift,
} from "./calendar.js";
import {
  AUTOMATIC_BUCKETS_MAX,
  BUCKETS_MAX,
  type Coverage,
  describeCoverage,
  type Fitting,
  findFitting,
  isIncomplete,
  notKept,
  PUSH_MAX_AGE_MS,
} from "./coverage.js";
import { type Label, readLabels } from "./labels.js";
import { type Snapshot, timestamps } from "./snapshot.js";
import { coverBuckets, type Segment, TIERS, type TierState } from "./tiers.js";
import { ceilTo, HOUR_MS, QUARTER_HOUR_MS } from "./time-units.js";
import type { TimeZone } from "./time-zone.js";

/** A property, a section of it, or an item in that. What is undefined is summed over. */
export interface CountKey {
  readonly property: string;
  readonly section: number | undefined;
  readonly item: number | undefined;
}

export interface SeriesQuery {
  readonly key: CountKey;
  readonly range: TimeRange;
  readonly zone: TimeZone;
  /** undefined: the shortest that gives at most {@link AUTOMATIC_BUCKETS_MAX} buckets. */
  readonly unit: BucketUnit | undefined;
  readonly comparesPrevious: boolean;
}

/** The count of one part of the range. */
export interface Bucket extends TimeRange {
  readonly count: bigint;
  readonly isPartial: boolean;
  readonly isIncomplete: boolean;
}

export interface Series {
  readonly unit: BucketUnit;
  readonly buckets: readonly Bucket[];
  readonly total: bigint;
  /** undefined: was not asked for. */
  readonly previous: PreviousSeries | undefined;
  readonly coverage: Coverage;
  /** Of the property, and of the section and item of the key, if it has them. */
  readonly labels: readonly Label[];
}

export interface PreviousSeries {
  /** By the index of the bucket; undefined: the period before has none that stands for it. */
  readonly pairs: readonly (Bucket | undefined)[];
  readonly total: bigint;
}

/**
 * Answers from a snapshot. No bucket begins at `now` or later.
 *
 * @throws RangeNotKeptError
 */
export async function readSeries(snapshot: Snapshot, query: SeriesQuery, now: number): Promise<Series> {
  const { current, before } = planSeries(snapshot.tiers, query, now);
  const buckets = await readBuckets(snapshot, query.key, current, now);
  const previous = before && (await readPrevious(snapshot, query, buckets, before));
  const { edges } = current;
  const range = { start: edges[0] as number, end: edges.at(-1) as number };
  return {
    unit: current.unit,
    buckets,
    total: sumOf(buckets),
    previous,
    coverage: describeCoverage(snapshot, range, [...current.segments, ...(before?.segments ?? [])], now),
    labels: await readLabels(snapshot, query.key),
  };
}

/** The buckets of the period before. */
interface Before extends Fitting {
  readonly shift: WallShift;
}

interface SeriesPlan {
  readonly current: Fitting;
  readonly before: Before | undefined;
}

/** @throws RangeNotKeptError */
function planSeries(tiers: readonly TierState[], query: SeriesQuery, now: number): SeriesPlan {
  const { zone, range, comparesPrevious } = query;
  // What is pushed may be a week old: of that time the finest tier tells soonest.
  const fineFrom = now - PUSH_MAX_AGE_MS;
  const shown = { start: range.start, end: Math.min(range.end, now) };
  for (const { unit, maxBuckets } of candidateUnits(query.unit)) {
    const current = findFitting(tiers, zone, shown, [unit], { maxBuckets, fineFrom });
    if (current !== undefined) {
      const before = comparesPrevious ? planBefore(tiers, query, current, now) : undefined;
      if (!comparesPrevious || before !== undefined) {
        return { current, before };
      }
    }
  }
  const unit = query.unit ?? "quarterHour";
  const start = comparesPrevious ? range.start - (range.end - range.start) : range.start;
  throw notKept(tiers, zone, { ...shown, start: Math.max(0, start) }, unit);
}

function candidateUnits(unit: BucketUnit | undefined): readonly { unit: BucketUnit; maxBuckets: number }[] {
  return unit === undefined
    ? [
        ...BUCKET_UNITS.map((each) => ({ unit: each, maxBuckets: AUTOMATIC_BUCKETS_MAX })),
        { unit: "month", maxBuckets: BUCKETS_MAX },
      ]
    : [{ unit, maxBuckets: BUCKETS_MAX }];
}

/** The period before is cut at the same time on the wall, rounded outwards to what is kept there. */
function planBefore(
  tiers: readonly TierState[],
  { zone, range }: SeriesQuery,
  { unit, edges }: Fitting,
  now: number,
): Before | undefined {
  const shift = lengthOf(zone, unit, range);
  const start = edges[0] as number;
  const last = bucketStart(zone, unit, range.end - 1);
  const rounded = { start, end: nextBucketStart(zone, unit, last) };
  const before = rangeBefore(zone, unit, rounded, shift, now);
  const whole = bucketEdges(zone, unit, before, BUCKETS_MAX + 1) ?? [];
  const end = whole.at(-1) ?? before.end;
  for (const roundingMs of [QUARTER_HOUR_MS, HOUR_MS, undefined]) {
    const cut = roundingMs === undefined ? end : Math.min(end, ceilTo(before.end, roundingMs));
    const cutEdges = [...whole.slice(0, -1), cut];
    const segments = coverBuckets(tiers, cutEdges, now - PUSH_MAX_AGE_MS);
    if (segments !== undefined) {
      return { unit, edges: cutEdges, segments, shift };
    }
  }
  return undefined;
}

async function readPrevious(
  snapshot: Snapshot,
  { key, zone }: SeriesQuery,
  buckets: readonly Bucket[],
  before: Before,
): Promise<PreviousSeries> {
  const counted = await readBuckets(snapshot, key, before, (before.edges.at(-1) as number) + 1);
  const pairs = pairBuckets(
    zone,
    before.unit,
    buckets.map(({ start }) => start),
    counted.map(({ start }) => start),
    before.shift,
  );
  return {
    pairs: pairs.map((index) => (index === undefined ? undefined : counted[index])),
    total: sumOf(counted),
  };
}

async function readBuckets(
  snapshot: Snapshot,
  key: CountKey,
  { edges, segments }: Fitting,
  now: number,
): Promise<Bucket[]> {
  const counts = await countPerBucket(snapshot, key, edges, segments);
  return edges.slice(1).map((end, index) => {
    const range = { start: edges[index] as number, end };
    return {
      ...range,
      count: counts.get(index) ?? 0n,
      isPartial: end > now,
      isIncomplete: isIncomplete(snapshot, range),
    };
  });
}

/** By the index of the bucket; those without events have none. */
async function countPerBucket(
  { client }: Snapshot,
  { property, section = 0, item = 0 }: CountKey,
  edges: readonly number[],
  segments: readonly Segment[],
): Promise<Map<number, bigint>> {
  const values: unknown[] = [property, section, item, timestamps(edges)];
  const parts = TIERS.flatMap((tier) => {
    const ranges = segments.filter(({ state }) => state.tier === tier);
    if (ranges.length === 0) {
      return [];
    }
    const n = values.push(
      timestamps(ranges.map(({ start }) => start)),
      timestamps(ranges.map(({ end }) => end)),
    );
    // A subquery for each range, so that the index is read from its begin to its end, and not for the whole key.
    return `SELECT bucket, count FROM unnest($${n - 1}::timestamptz[], $${n}::timestamptz[]) AS range (first, past),
      LATERAL (SELECT bucket, count FROM ${tier.table} WHERE property = $1 AND section = $2 AND item = $3
        AND bucket >= first AND bucket < past OFFSET 0) AS inside`;
  });
  if (parts.length === 0) {
    return new Map();
  }
  const { rows } = await client.query<{ index: number; count: string }>(
    `SELECT width_bucket(bucket, $4::timestamptz[]) - 1 AS index, sum(count) AS count
     FROM (${parts.join(" UNION ALL ")}) AS counted GROUP BY 1`,
    values,
  );
  return new Map(rows.map(({ index, count }) => [index, BigInt(count)]));
}

function sumOf(buckets: readonly Bucket[]): bigint {
  return buckets.reduce((sum, { count }) => sum + count, 0n);
}
