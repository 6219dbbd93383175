/** The calendar of a time zone: local date and time of an instant, and the instant of a local date and time. */

/** @typedef {{ year: number, month: number, day: number, hour: number, minute: number, weekday: number }} Local
 * month from 1; weekday from 0, which is Monday */

const DAY_MS = 86_400_000;

/** @type {Map<string, Intl.DateTimeFormat>} */
const formats = new Map();

/** @param {string} zone */
function formatOf(zone) {
  const known = formats.get(zone);
  if (known !== undefined) {
    return known;
  }
  const format = new Intl.DateTimeFormat("en-US", {
    timeZone: zone,
    calendar: "iso8601",
    hourCycle: "h23",
    year: "numeric",
    month: "numeric",
    day: "numeric",
    hour: "numeric",
    minute: "numeric",
  });
  formats.set(zone, format);
  return format;
}

/** Whether there is such a zone. @param {string} zone */
export function isZone(zone) {
  try {
    formatOf(zone);
    return true;
  } catch {
    return false;
  }
}

/** The zone of this browser. */
export const browserZone = () => Intl.DateTimeFormat().resolvedOptions().timeZone || "UTC";

/** All zones that this browser knows, and UTC. @returns {string[]} */
export function allZones() {
  return [...new Set(["UTC", browserZone(), ...Intl.supportedValuesOf("timeZone")])].sort();
}

/** @param {number} at Unix time in milliseconds @param {string} zone @returns {Local} */
export function toLocal(at, zone) {
  /** @type {Record<string, number>} */
  const parts = {};
  for (const { type, value } of formatOf(zone).formatToParts(at)) {
    parts[type] = Number(value);
  }
  const { year = 0, month = 0, day = 0, hour = 0, minute = 0 } = parts;
  const weekday = (new Date(Date.UTC(year, month - 1, day)).getUTCDay() + 6) % 7;
  return { year, month, day, hour, minute, weekday };
}

/**
 * The instant of a local time. Of one that comes twice, the first; one that the clock jumps over is moved forward by
 * the jump. Parts beyond their range, such as day 0, count on as they do in Date.UTC.
 *
 * @param {string} zone @param {number} year @param {number} month @param {number} day
 * @param {number} [hour] @param {number} [minute]
 */
export function fromLocal(zone, year, month, day, hour = 0, minute = 0) {
  const wanted = Date.UTC(year, month - 1, day, hour, minute);
  const before = offsetAt(wanted - DAY_MS, zone);
  const after = offsetAt(wanted + DAY_MS, zone);
  const first = wanted - before;
  if (before === after || offsetAt(first, zone) === before) {
    return first;
  }
  const second = wanted - after;
  return offsetAt(second, zone) === after ? second : first;
}

/** How far local time is ahead of UTC, in milliseconds. @param {number} at @param {string} zone */
function offsetAt(at, zone) {
  const { year, month, day, hour, minute } = toLocal(at, zone);
  return Date.UTC(year, month - 1, day, hour, minute) - Math.floor(at / 60_000) * 60_000;
}

/** Begin of the local day, or of one that is so many days later. @param {number} at @param {string} zone @param {number} [days] */
export function startOfDay(at, zone, days = 0) {
  const { year, month, day } = toLocal(at, zone);
  return fromLocal(zone, year, month, day + days);
}

/** Begin of the local week, which is its Monday. @param {number} at @param {string} zone */
export function startOfWeek(at, zone) {
  return startOfDay(at, zone, -toLocal(at, zone).weekday);
}

/** Begin of the local month, or of one that is so many months later. @param {number} at @param {string} zone @param {number} [months] */
export function startOfMonth(at, zone, months = 0) {
  const { year, month } = toLocal(at, zone);
  return fromLocal(zone, year, month + months, 1);
}
