/** Words and numbers as people read them; it touches no document. */
import { toLocal } from "./zone.js";

/** @import { Bucket, Coverage, Entry } from "./api.js" */

export const MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
const WEEKDAYS = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];

/** Older than this, an answer is told to be behind. */
const LATE_MS = 60_000;

const whole = new Intl.NumberFormat("en-US");
const short = new Intl.NumberFormat("en-US", { notation: "compact", maximumFractionDigits: 1 });

/** From here on a percentage says less than how many times as many it is. */
const MANY_FOLD = 10;

/** 1,234,567. @param {number} value */
export const number = (value) => whole.format(value);

/** 1.2M, where there is no room. @param {number} value */
export const compact = (value) => (value < 10_000 ? whole.format(value) : short.format(value));

/** @param {number} part @param {number} total */
export function share(part, total) {
  if (total === 0) {
    return "";
  }
  const percent = (100 * part) / total;
  return percent >= 0.1 || percent === 0 ? `${percent.toFixed(percent < 10 ? 1 : 0)} %` : "< 0.1 %";
}

/** How a count differs from the one before. @param {number} count @param {number | null} previous */
export function change(count, previous) {
  if (previous === null) {
    return "";
  }
  if (previous === 0) {
    return count === 0 ? "–" : "new";
  }
  const percent = (100 * (count - previous)) / previous;
  if (Math.abs(percent) < 0.05) {
    return "±0 %";
  }
  if (count >= MANY_FOLD * previous) {
    return `▲ ${number(Math.round(count / previous))}-fold`;
  }
  const size = Math.abs(percent);
  return `${percent > 0 ? "▲" : "▼"} ${size < 10 ? size.toFixed(1) : number(Math.round(size))} %`;
}

/** 24 Nov 2026. @param {number} at @param {string} zone */
export function date(at, zone) {
  const { year, month, day } = toLocal(at, zone);
  return `${day} ${MONTHS[month - 1]} ${year}`;
}

/** Tue 24 Nov 2026. @param {number} at @param {string} zone */
export const dateWithWeekday = (at, zone) => `${WEEKDAYS[toLocal(at, zone).weekday]} ${date(at, zone)}`;

/** 14:05. @param {number} at @param {string} zone */
export function time(at, zone) {
  const { hour, minute } = toLocal(at, zone);
  return `${pad(hour)}:${pad(minute)}`;
}

/** 14:05:09. @param {number} at @param {string} zone */
export const timeWithSeconds = (at, zone) => `${time(at, zone)}:${pad(new Date(at).getUTCSeconds())}`;

/** A bucket, as one says it. @param {Bucket} bucket @param {string} granularity without its prefix @param {string} zone */
export function bucketName({ start, end }, granularity, zone) {
  switch (granularity) {
    case "month": {
      const { year, month } = toLocal(start, zone);
      return `${MONTHS[month - 1]} ${year}`;
    }
    case "week":
      return `${date(start, zone)} – ${date(end - 1, zone)}`;
    case "day":
      return dateWithWeekday(start, zone);
    default:
      return `${dateWithTime(start, zone)}–${time(end, zone)}${changesClock(start, end, zone) ? " (the clock changes)" : ""}`;
  }
}

/** Whether the local clock goes by more or less than the time that passes. @param {number} start @param {number} end @param {string} zone */
function changesClock(start, end, zone) {
  const localTime = (/** @type {number} */ at) => {
    const { year, month, day, hour, minute } = toLocal(at, zone);
    return Date.UTC(year, month - 1, day, hour, minute);
  };
  return localTime(end) - localTime(start) !== end - start;
}

/**
 * A range, as short as it can be said. The end is not in it; one that lies ahead is now.
 *
 * @param {{ start: number, end: number }} range @param {string} zone @param {number} now
 */
export function rangeName({ start, end }, zone, now) {
  const from = isMidnight(start, zone) ? dateWithWeekday(start, zone) : dateWithTime(start, zone);
  if (end > now) {
    return `${from} – now`;
  }
  if (isMidnight(start, zone) && isMidnight(end, zone)) {
    const last = dateWithWeekday(end - 1, zone);
    return last === from ? from : `${from} – ${last}`;
  }
  return date(start, zone) === date(end, zone)
    ? `${dateWithTime(start, zone)}–${time(end, zone)}`
    : `${dateWithTime(start, zone)} – ${dateWithTime(end, zone)}`;
}

/** @param {number} at @param {string} zone */
const isMidnight = (at, zone) => time(at, zone) === "00:00";

/** Tue 24 Nov 2026, 14:05. @param {number} at @param {string} zone */
export const dateWithTime = (at, zone) => `${dateWithWeekday(at, zone)}, ${time(at, zone)}`;

/** What a bucket's count leaves open. @param {Bucket} bucket @param {number} now */
export function bucketNotes({ partial, incomplete, end }, now) {
  return [
    ...(partial ? [end > now ? "so far" : "a part of it"] : []),
    ...(incomplete ? ["at least: rows went before they were counted"] : []),
  ].join("; ");
}

/** A count that may be a lower bound. @param {number} count @param {boolean} incomplete */
export const bounded = (count, incomplete) => `${incomplete ? "≥ " : ""}${number(count)}`;

/**
 * How fresh an answer is.
 *
 * @param {Coverage} coverage @param {number} now @param {string} zone
 * @returns {{ text: string, isLate: boolean }}
 */
export function freshness({ freshAt }, now, zone) {
  if (freshAt === null) {
    return { text: "", isLate: false };
  }
  const age = Math.max(0, now - freshAt);
  if (age < LATE_MS) {
    return { text: `Counted up to ${timeWithSeconds(freshAt, zone)}`, isLate: false };
  }
  const day = date(freshAt, zone) === date(now, zone) ? "" : `${date(freshAt, zone)}, `;
  return {
    text: `Counting is ${duration(age)} behind: up to ${day}${timeWithSeconds(freshAt, zone)}`,
    isLate: true,
  };
}

/** @param {number} ms */
export function duration(ms) {
  const minutes = Math.round(ms / 60_000);
  if (minutes < 120) {
    return minutes < 1 ? `${Math.round(ms / 1000)} s` : `${minutes} min`;
  }
  const hours = Math.round(minutes / 60);
  return hours < 48 ? `${hours} h` : `${Math.round(hours / 24)} days`;
}

/** What an entry of a list is called. @param {Entry} entry */
export function entryName({ property, section, item, label }) {
  return label || (item !== null ? `Item ${item}` : section !== null ? `Section ${section}` : property);
}

/** @param {number} value */
const pad = (value) => String(value).padStart(2, "0");

/** A message of the service as a sentence. @param {string} text */
export const sentence = (text) =>
  `${text.charAt(0).toUpperCase()}${text.slice(1)}${/[.!?]$/.test(text) ? "" : "."}`;
