/** What the page keeps of each status, and the lines that it draws of that; it touches no document. */
/** @import { ServiceStatus } from "../../src/telemetry/service-status.js" */

/**
 * Rates in events a second; null: not known, at the beginning and after a restart.
 *
 * @typedef {{ acceptedRate: number | null, insertedRate: number | null, duplicatesRate: number | null,
 *   deadRate: number | null, queuePercent: number, bufferRows: number }} Values
 * @typedef {Values & { at: number, status: ServiceStatus }} Sample at Unix time `at`, in milliseconds
 */

export const HISTORY_MS = 600_000;
/** Rates are averages over this: flushes come once a second, so of two readings one sees a flush more or less. */
const RATE_MS = 10_000;
/** Where nothing was read for longer, a line is broken. */
const GAP_MS = 10_000;

/** How full a queue or buffer is, in percent. @param {{ bytes: number, maxBytes: number } | null} room */
export const percentOf = (room) => (room?.maxBytes ? (100 * room.bytes) / room.maxBytes : 0);

/**
 * The samples, without those that are too old, and one more.
 *
 * @param {readonly Sample[]} samples @param {ServiceStatus} status @param {number} at
 * @returns {Sample[]}
 */
export function addSample(samples, status, at) {
  const kept = samples.filter((sample) => sample.at >= at - HISTORY_MS && sample.at < at);
  const sameRunSince = at - Math.min(RATE_MS, status.uptimeMs);
  const base = kept.find((sample) => sample.at >= sameRunSince && haveSameCounts(sample.status, status));
  /** @param {keyof typeof status.events} name */
  const rate = (name) => base && ((status.events[name] - base.status.events[name]) * 1000) / (at - base.at);
  return [
    ...kept,
    {
      at,
      status,
      acceptedRate: rate("accepted") ?? null,
      insertedRate: rate("inserted") ?? null,
      duplicatesRate: rate("duplicates") ?? null,
      deadRate: rate("dead") ?? null,
      queuePercent: percentOf(status.queue),
      bufferRows: status.buffer?.rows ?? 0,
    },
  ];
}

/**
 * Whether both are about the same counts: no worker began anew in between, and none kept silent in one of them.
 *
 * @type {(earlier: ServiceStatus, later: ServiceStatus) => boolean}
 */
function haveSameCounts({ processes, events: before }, { processes: processesAfter, events: after }) {
  return (
    processes === processesAfter &&
    before.accepted <= after.accepted &&
    before.inserted <= after.inserted &&
    before.duplicates <= after.duplicates &&
    before.dead <= after.dead
  );
}

/** When PostgreSQL was first seen not to answer; null when it does. @param {readonly Sample[]} samples */
export function silentSince(samples) {
  const lastGood = samples.findLastIndex(({ status }) => status.database?.ok !== false);
  return samples[lastGood + 1]?.at ?? null;
}

/** Times below a chart: its left edge, its middle and its right edge. @param {readonly Sample[]} samples @returns {number[]} */
export function axisTimes(samples) {
  const newest = samples.at(-1)?.at ?? 0;
  return [newest - HISTORY_MS, newest - HISTORY_MS / 2, newest];
}

/**
 * The upper edge for a chart: 1, 2 or 5 times a power of ten.
 *
 * @param {readonly Sample[]} samples @param {(keyof Values)[]} names
 */
export function chartTop(samples, names) {
  const highest = Math.max(1, ...samples.flatMap((sample) => names.map((name) => sample[name] ?? 0)));
  const power = 10 ** Math.floor(Math.log10(highest));
  return ([1, 2, 5].find((step) => step * power >= highest) ?? 10) * power;
}

/**
 * SVG path data in a box of 100 × 100: the right edge is the newest sample, the left one HISTORY_MS before it.
 *
 * @param {readonly Sample[]} samples @param {keyof Values} name @param {number} top the value at the upper edge
 */
export function linePath(samples, name, top) {
  const newest = samples.at(-1)?.at ?? 0;
  let lastAt = Number.NEGATIVE_INFINITY;
  const steps = samples.map(({ at, [name]: value }) => {
    const isBreak = at - lastAt > GAP_MS;
    lastAt = value === null ? Number.NEGATIVE_INFINITY : at;
    if (value === null) {
      return "";
    }
    const x = 100 - ((newest - at) * 100) / HISTORY_MS;
    const y = 100 - (value * 100) / top;
    return `${isBreak ? "M" : "L"}${x.toFixed(2)} ${y.toFixed(2)}`;
  });
  return steps.join("");
}
