/** The tables that hold counts, and which of them answer for a range of time, exactly and at the least cost; it reads none. */
import type { TimeRange } from "./calendar.js";
import { ceilTo, DAY_MS, floorTo, HOUR_MS, QUARTER_HOUR_MS } from "./time-units.js";

/** A table of counts, by the length of its buckets, which begin at multiples of it in UTC. */
export interface Tier {
  /** In counts_state. */
  readonly name: string;
  readonly table: string;
  readonly unitMs: number;
}

export const QUARTER_HOUR: Tier = {
  name: "quarter_hour",
  table: "counts_quarter_hour",
  unitMs: QUARTER_HOUR_MS,
};
export const HOUR: Tier = { name: "hour", table: "counts_hour", unitMs: HOUR_MS };
export const DAY: Tier = { name: "day", table: "counts_day", unitMs: DAY_MS };

/** From the finest to the coarsest. Those who write to several write in this order, so that they cannot deadlock. */
export const TIERS: readonly Tier[] = [QUARTER_HOUR, HOUR, DAY];

/** What a tier holds. */
export interface TierState {
  readonly tier: Tier;
  /** Buckets from this time on are there. */
  readonly keptFrom: number;
  /** All that was committed before this time is counted. */
  readonly freshAt: number;
}

/** A range whose counts are taken from one tier. Its edges are edges of that tier's buckets. */
export interface Segment extends TimeRange {
  readonly state: TierState;
}

/**
 * Segments that together are the range from the first of `edges` to the last, so that no bucket of a tier lies across an
 * edge: coarse tiers inside, finer ones where a coarse one does not fit. From `fineFrom` on the finest tier alone is
 * taken, as far as it is kept, because it is the freshest. `states` go from the finest to the coarsest. Gives undefined
 * when what is kept does not fit the edges.
 */
export function coverBuckets(
  states: readonly TierState[],
  edges: readonly number[],
  fineFrom: number,
): Segment[] | undefined {
  const finest = states[0];
  const coarsestFirst = states.toReversed();
  const fineStart = finest && ceilTo(Math.max(fineFrom, finest.keptFrom), DAY_MS);
  const segments: Segment[] = [];
  for (let i = 1; i < edges.length; i++) {
    const range = { start: edges[i - 1] as number, end: edges[i] as number };
    const split = Math.min(Math.max(range.start, fineStart ?? range.end), range.end);
    const coarse = coverRange(coarsestFirst, { start: range.start, end: split });
    const fine = coverRange(finest ? [finest] : [], { start: split, end: range.end });
    if (coarse === undefined || fine === undefined) {
      return undefined;
    }
    for (const segment of [...coarse, ...fine]) {
      append(segments, segment);
    }
  }
  return segments;
}

function coverRange(coarsestFirst: readonly TierState[], range: TimeRange): Segment[] | undefined {
  if (range.start >= range.end) {
    return [];
  }
  const [state, ...finer] = coarsestFirst;
  if (state === undefined) {
    return undefined;
  }
  const { unitMs } = state.tier;
  const start = ceilTo(Math.max(range.start, state.keptFrom), unitMs);
  const end = floorTo(range.end, unitMs);
  if (start >= end) {
    return coverRange(finer, range);
  }
  const before = coverRange(finer, { start: range.start, end: start });
  const after = coverRange(finer, { start: end, end: range.end });
  return before && after && [...before, { state, start, end }, ...after];
}

function append(segments: Segment[], segment: Segment): void {
  const last = segments.at(-1);
  if (last !== undefined && last.state === segment.state && last.end === segment.start) {
    segments[segments.length - 1] = { ...last, end: segment.end };
  } else {
    segments.push(segment);
  }
}

/** Since when everything committed is in all of the segments; `now` when there are none. */
export function freshnessOf(segments: readonly Segment[], now: number): number {
  return Math.min(now, ...new Set(segments.map(({ state }) => state.freshAt)));
}
