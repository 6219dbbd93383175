/** Where the time axis of a plot has its labels, and what they say; it touches no document. */
import { MONTHS, time } from "./words.js";
import { toLocal } from "./zone.js";

/** @import { Bucket } from "./api.js" */
/** @import { Local } from "./zone.js" */

/** @typedef {{ at: number, label: string }} Tick at Unix time `at`, in milliseconds */

/** Of the labels that fit, at least this part is used: fewer say too little. */
const FEWEST = 1 / 4;

/**
 * Steps from fine to coarse: which buckets have a label, and whether it is a time, a day or a month.
 *
 * @type {readonly { unit: "time" | "day" | "month", isTick: (local: Local, dayOfYear: number) => boolean }[]}
 */
const STEPS = [
  ...[15, 30].map((minutes) => ({
    unit: /** @type {const} */ ("time"),
    isTick: (/** @type {Local} */ { minute }) => minute % minutes === 0,
  })),
  ...[1, 2, 3, 6, 12].map((hours) => ({
    unit: /** @type {const} */ ("time"),
    isTick: (/** @type {Local} */ { hour, minute }) => minute === 0 && hour % hours === 0,
  })),
  { unit: "day", isTick: ({ hour, minute }) => hour === 0 && minute === 0 },
  { unit: "day", isTick: ({ hour, minute }, day) => hour === 0 && minute === 0 && day % 2 === 0 },
  { unit: "day", isTick: ({ hour, minute, weekday }) => hour === 0 && minute === 0 && weekday === 0 },
  {
    unit: "day",
    isTick: ({ hour, minute, weekday }, day) =>
      hour === 0 && minute === 0 && weekday === 0 && Math.floor(day / 7) % 2 === 0,
  },
  ...[1, 3, 6, 12].map((months) => ({
    unit: /** @type {const} */ ("month"),
    isTick: (/** @type {Local} */ { hour, minute, day, month }) =>
      hour === 0 && minute === 0 && day === 1 && (month - 1) % months === 0,
  })),
];

/**
 * The finest labels, of which at most `most` fit. That of a time stands at the begin of its bucket, that of a day or month
 * under the middle of it.
 *
 * @param {readonly Bucket[]} buckets @param {string} zone @param {number} most
 * @returns {Tick[]}
 */
export function ticksOf(buckets, zone, most) {
  const begins = buckets.map(({ start, end }) => ({ start, end, local: toLocal(start, zone) }));
  const units = unitsOf(begins.map(({ local }) => local));
  const middle = (/** @type {{ start: number, end: number }} */ { start, end }) =>
    units.includes("time") ? start : (start + end) / 2;
  for (const { unit, isTick } of STEPS.filter((step) => units.includes(step.unit))) {
    const ticks = begins.filter(({ local }) => isTick(local, dayNumber(local)));
    if (ticks.length <= most && ticks.length >= FEWEST * Math.min(most, buckets.length)) {
      return ticks.map((tick, i) => ({
        at: middle(tick),
        label: labelOf(unit, tick.start, tick.local, zone, ticks[i - 1]?.local),
      }));
    }
  }
  const step = Math.ceil(buckets.length / most);
  return begins
    .filter((_, i) => i % step === 0)
    .map((tick, i, shown) => ({
      at: middle(tick),
      label: labelOf("day", tick.start, tick.local, zone, shown[i - 1]?.local),
    }));
}

/** What tells the buckets apart: days need no time, months no day. @param {readonly Local[]} locals @returns {readonly string[]} */
function unitsOf(locals) {
  if (locals.length > 1 && locals.every(({ day, hour, minute }) => day === 1 && hour === 0 && minute === 0)) {
    return ["month"];
  }
  const areDays = locals.every(({ hour, minute }) => hour === 0 && minute === 0);
  return areDays ? ["day", "month"] : ["time", "day", "month"];
}

/** Days since 1970, so that every second day is the same ones in each month. @param {Local} local */
const dayNumber = ({ year, month, day }) => Math.floor(Date.UTC(year, month - 1, day) / 86_400_000);

/** The second line says what changed since the label before. @type {(unit: string, at: number, local: Local, zone: string, before?: Local) => string} */
function labelOf(unit, at, local, zone, before) {
  const month = MONTHS[local.month - 1];
  if (unit === "time") {
    const isNewDay = before === undefined || before.day !== local.day;
    return isNewDay ? `${time(at, zone)}\n${local.day} ${month}` : time(at, zone);
  }
  const isNewYear = before === undefined || before.year !== local.year;
  const first = unit === "month" ? `${month}` : `${local.day} ${month}`;
  return isNewYear ? `${first}\n${local.year}` : first;
}
