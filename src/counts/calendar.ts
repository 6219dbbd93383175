/**
 * The buckets of a time zone: where they begin and end, which of them a range has, and which ones are the period before;
 * it knows no tables.
 *
 * Hours and quarters of an hour begin where the clock on the wall shows a full one, and where it is changed. Days, weeks
 * and months begin at the first moment of their first day: 00:00, or later where the clock skips it.
 */
import { DAY_MS, floorTo, HOUR_MS, QUARTER_HOUR_MS } from "./time-units.js";
import type { TimeZone } from "./time-zone.js";

/** From the shortest to the longest. */
export const BUCKET_UNITS = ["quarterHour", "hour", "day", "week", "month"] as const;
export type BucketUnit = (typeof BUCKET_UNITS)[number];

/** 1970-01-01 was a Thursday. */
const MONDAY_MS = 4 * DAY_MS;
const WEEK_MS = 7 * DAY_MS;

/** The lengths that are the same on every wall. */
const FIXED_UNITS_MS = {
  quarterHour: QUARTER_HOUR_MS,
  hour: HOUR_MS,
  day: DAY_MS,
  week: WEEK_MS,
} as const;

/** A length of time on the wall. */
export type WallShift = { readonly months: number } | { readonly ms: number };

/** Where the unit begins that a time on the wall is in. */
export function floorWall(unit: BucketUnit, wall: number): number {
  switch (unit) {
    case "month": {
      const date = new Date(wall);
      return Date.UTC(date.getUTCFullYear(), date.getUTCMonth(), 1);
    }
    case "week":
      return floorTo(wall - MONDAY_MS, WEEK_MS) + MONDAY_MS;
    default:
      return floorTo(wall, FIXED_UNITS_MS[unit]);
  }
}

/** Where the unit after that one begins. */
function nextWall(unit: BucketUnit, wall: number): number {
  if (unit === "month") {
    const date = new Date(wall);
    return Date.UTC(date.getUTCFullYear(), date.getUTCMonth() + 1, 1);
  }
  return floorWall(unit, wall) + FIXED_UNITS_MS[unit];
}

/** Where the bucket ends that an instant is in, and the next begins. */
export function nextBucketStart(zone: TimeZone, unit: BucketUnit, instant: number): number {
  return unit === "quarterHour" || unit === "hour"
    ? nextClockStart(zone, FIXED_UNITS_MS[unit], instant)
    : nextDayStart(zone, unit, instant);
}

function nextClockStart(zone: TimeZone, unitMs: number, instant: number): number {
  const offset = zone.offsetAt(instant);
  const next = floorTo(instant + offset, unitMs) + unitMs - offset;
  const change = zone.changeBetween(instant, next);
  if (change === undefined) {
    return next;
  }
  // Until 2011 some zones changed their clock at 00:01; the tables have no bucket that begins there.
  return change % QUARTER_HOUR_MS === 0
    ? change
    : floorTo(change + zone.offsetAt(change), unitMs) + unitMs - zone.offsetAt(change);
}

function nextDayStart(zone: TimeZone, unit: BucketUnit, instant: number): number {
  let wall = nextWall(unit, zone.wallAt(instant));
  // A zone that moves across the date line skips a whole day.
  while (zone.firstInstantOf(wall) <= instant) {
    wall = nextWall(unit, wall);
  }
  return zone.firstInstantOf(wall);
}

/** Where the bucket begins that an instant is in. */
export function bucketStart(zone: TimeZone, unit: BucketUnit, instant: number): number {
  return unit === "quarterHour" || unit === "hour"
    ? clockStart(zone, FIXED_UNITS_MS[unit], instant)
    : dayStart(zone, unit, instant);
}

function clockStart(zone: TimeZone, unitMs: number, instant: number): number {
  const offset = zone.offsetAt(instant);
  const start = floorTo(instant + offset, unitMs) - offset;
  const change = zone.changeBetween(start, instant);
  if (change === undefined) {
    return start;
  }
  return change % QUARTER_HOUR_MS === 0 ? change : clockStart(zone, unitMs, change - 1);
}

function dayStart(zone: TimeZone, unit: BucketUnit, instant: number): number {
  let start = zone.firstInstantOf(floorWall(unit, zone.wallAt(instant)));
  // Where the clock is put back across midnight, the day before is shown again when the new one has begun.
  for (let next = start; next <= instant; next = nextDayStart(zone, unit, start)) {
    start = next;
  }
  return start;
}

/**
 * The edges of the buckets that hold a range, which is so rounded outwards: the first is where the first bucket begins,
 * the last where the last ends. An empty range has none. Gives undefined when there are more than `maxBuckets`.
 */
export function bucketEdges(
  zone: TimeZone,
  unit: BucketUnit,
  { start, end }: TimeRange,
  maxBuckets: number,
): number[] | undefined {
  if (start >= end) {
    return [];
  }
  const edges = [bucketStart(zone, unit, start)];
  for (let edge = edges[0] as number; edge < end; edges.push(edge)) {
    if (edges.length > maxBuckets) {
      return undefined;
    }
    edge = nextBucketStart(zone, unit, edge);
  }
  return edges;
}

/** A range of time, half-open, in Unix milliseconds. */
export interface TimeRange {
  readonly start: number;
  readonly end: number;
}

/** Whether two ranges have a moment in common. */
export function overlaps(a: TimeRange, b: TimeRange): boolean {
  return a.start < b.end && b.start < a.end;
}

/** A time on the wall, moved back. A day that its new month does not have is where the month after begins. */
export function shiftWallBack(wall: number, shift: WallShift): number {
  if ("ms" in shift) {
    return wall - shift.ms;
  }
  const month = floorWall("month", wall);
  const date = new Date(month);
  const earlier = Date.UTC(date.getUTCFullYear(), date.getUTCMonth() - shift.months, 1);
  return Math.min(earlier + (wall - month), nextWall("month", earlier));
}

/**
 * How far the period before a range lies back, on the wall: whole months where the range is some, whole days where it
 * begins and ends at the same time of the day or lasts some times 24 hours, else its length; in whole `unit`s, so that
 * the buckets before stand where the buckets do.
 */
export function lengthOf(zone: TimeZone, unit: BucketUnit, range: TimeRange): WallShift {
  const start = zone.wallAt(range.start);
  const end = zone.wallAt(range.end);
  const isMonths = floorWall("month", start) === start && floorWall("month", end) === end;
  if (unit === "month" || (isMonths && unit !== "week")) {
    return { months: Math.max(1, monthsBetween(start, isMonths ? end : nextWall("month", end - 1))) };
  }
  const elapsed = range.end - range.start;
  const length = elapsed % DAY_MS === 0 && (end - start) % DAY_MS !== 0 ? elapsed : end - start;
  const unitMs = FIXED_UNITS_MS[unit];
  return { ms: Math.max(1, Math.ceil(length / unitMs)) * unitMs };
}

function monthsBetween(start: number, end: number): number {
  const [from, to] = [new Date(start), new Date(end)];
  return (to.getUTCFullYear() - from.getUTCFullYear()) * 12 + to.getUTCMonth() - from.getUTCMonth();
}

/** The period before, moved back by `shift`. Where `range` ends after `now`, it is cut at the same time on the wall. */
export function rangeBefore(
  zone: TimeZone,
  unit: BucketUnit,
  range: TimeRange,
  shift: WallShift,
  now: number,
): TimeRange {
  const moveEdge = (edge: number) =>
    zone.firstInstantOf(shiftWallBack(floorWall(unit, zone.wallAt(edge)), shift));
  const start = moveEdge(range.start);
  const end = moveEdge(range.end);
  return now < range.end
    ? { start, end: Math.min(end, zone.firstInstantOf(shiftWallBack(zone.wallAt(now), shift))) }
    : { start, end };
}

/**
 * For each bucket that begins at one of `starts`, which of those that begin at `before` is the one before it by `shift`;
 * undefined where no bucket stands at that time on the wall.
 */
export function pairBuckets(
  zone: TimeZone,
  unit: BucketUnit,
  starts: readonly number[],
  before: readonly number[],
  shift: WallShift,
): (number | undefined)[] {
  const indexes = new Map(before.map((start, index) => [wallKey(zone, unit, start), index]));
  return starts.map((start) => {
    const wall = floorWall(unit, zone.wallAt(start));
    const earlier = shiftWallBack(wall, shift);
    const isInMonth = "ms" in shift || new Date(earlier).getUTCDate() === new Date(wall).getUTCDate();
    return isInMonth ? indexes.get(`${earlier}/${repetition(zone, start)}`) : undefined;
  });
}

function wallKey(zone: TimeZone, unit: BucketUnit, start: number): string {
  return `${floorWall(unit, zone.wallAt(start))}/${repetition(zone, start)}`;
}

/** 1 when the clock on the wall has shown the same time before, because it was put back in between; else 0. */
function repetition(zone: TimeZone, start: number): number {
  return Math.max(0, zone.instantsOf(zone.wallAt(start)).indexOf(start));
}
