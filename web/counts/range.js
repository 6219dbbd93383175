/** Which time a view is about, and in which buckets: what is asked of the service; it touches no document. */
import { startOfDay, startOfMonth, startOfWeek } from "./zone.js";

/** @import { View } from "./view.js" */
/** @import { Fit } from "./api.js" */

/**
 * A part of a request. `granularity` "auto": the service chooses. The end may lie ahead: no bucket does, and the period
 * before is as much of the calendar, cut at the same local time.
 *
 * @typedef {{ start: number, end: number, granularity: string, zone: string }} Span
 */

const MINUTE_MS = 60_000;
const QUARTER_MS = 15 * MINUTE_MS;
const HOUR_MS = 60 * MINUTE_MS;
const DAY_MS = 24 * HOUR_MS;

/**
 * The time that a view is about. It begins and ends with whole buckets, so that plot and list count the same.
 *
 * @param {View} view @param {number} now @returns {Span}
 */
export function spanOf(view, now) {
  const { zone, range, from, to } = view;
  const [start, end] = from !== null && to !== null ? [from, to] : presetRange(range, now, zone);
  return align({ start, end, granularity: view.by === "auto" && range === "12m" ? "month" : view.by, zone });
}

/** @param {string} range @param {number} now @param {string} zone @returns {[start: number, end: number]} */
function presetRange(range, now, zone) {
  const midnight = startOfDay(now, zone, 1);
  switch (range) {
    case "today":
      return [startOfDay(now, zone), midnight];
    case "24h": {
      const start = Math.ceil((now - DAY_MS) / QUARTER_MS) * QUARTER_MS;
      return [start, start + DAY_MS];
    }
    case "30d":
      return [startOfDay(now, zone, -29), midnight];
    case "90d":
      return [startOfDay(now, zone, -89), midnight];
    case "12m":
      return [startOfMonth(now, zone, -11), startOfMonth(now, zone, 1)];
    default:
      return [startOfDay(now, zone, -6), midnight];
  }
}

/** Begin of the bucket that an instant is in. @param {string} granularity @param {number} at @param {string} zone */
function floorTo(granularity, at, zone) {
  switch (granularity) {
    case "hour":
      return startOfHour(at, zone);
    case "day":
      return startOfDay(at, zone);
    case "week":
      return startOfWeek(at, zone);
    case "month":
      return startOfMonth(at, zone);
    default:
      return Math.floor(at / QUARTER_MS) * QUARTER_MS;
  }
}

/** @param {string} granularity @param {number} at @param {string} zone */
function ceilTo(granularity, at, zone) {
  const start = floorTo(granularity, at, zone);
  return start === at ? at : next(granularity, start, zone);
}

/** End of the bucket that begins there. @param {string} granularity @param {number} start @param {string} zone */
function next(granularity, start, zone) {
  switch (granularity) {
    case "hour":
      return start + HOUR_MS;
    case "day":
      return startOfDay(start, zone, 1);
    case "week":
      return startOfDay(start, zone, 7);
    case "month":
      return startOfMonth(start, zone, 1);
    default:
      return start + QUARTER_MS;
  }
}

/** Hours of zones such as Asia/Kolkata begin at half past of UTC. @param {number} at @param {string} zone */
function startOfHour(at, zone) {
  const sinceMidnight = at - startOfDay(at, zone);
  return at - (sinceMidnight % HOUR_MS);
}

/**
 * What to try, in this order, when the service says that what is left of a range fits neither zone nor granularity:
 * what it names, else coarser buckets, then those of UTC.
 *
 * @param {Span} span @param {Fit} fit @returns {Span[]}
 */
export function coarser(span, { granularity, timeZone }) {
  if (granularity !== undefined || timeZone !== undefined) {
    return [
      align({
        ...span,
        granularity: shortName(granularity) ?? span.granularity,
        zone: timeZone ?? span.zone,
      }),
    ];
  }
  const isLong = ["day", "week", "month"].includes(span.granularity);
  const inZone = isLong ? [] : [{ ...span, granularity: "day" }];
  const inUtc =
    span.zone === "UTC"
      ? []
      : [
          { ...span, zone: "UTC" },
          { ...span, zone: "UTC", granularity: "day" },
        ];
  return [...inZone, ...inUtc].map(align);
}

/** Rounded outwards to whole buckets. @param {Span} span @returns {Span} */
function align({ start, end, granularity, zone }) {
  return { start: floorTo(granularity, start, zone), end: ceilTo(granularity, end, zone), granularity, zone };
}

/** `GRANULARITY_DAY` is "day" here. @param {string | undefined} name */
export const shortName = (name) => name?.replace("GRANULARITY_", "").toLowerCase();

/** The fields of a request that say when. @param {Span} span @returns {Record<string, unknown>} */
export function timesOf({ start, end, zone }) {
  return {
    startTime: new Date(start).toISOString(),
    endTime: new Date(end).toISOString(),
    timeZone: zone,
  };
}

/** The field that says in which buckets. @param {Span} span */
export function granularityOf({ granularity }) {
  return granularity === "auto" ? {} : { granularity: `GRANULARITY_${granularity.toUpperCase()}` };
}
