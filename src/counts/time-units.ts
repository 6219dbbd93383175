/** Lengths of time that do not depend on a calendar, in milliseconds, and rounding to them; UTC's days are among them. */

export const QUARTER_HOUR_MS = 15 * 60 * 1_000;
export const HOUR_MS = 4 * QUARTER_HOUR_MS;
export const DAY_MS = 24 * HOUR_MS;

/** The last multiple of a unit that is not after a time. */
export function floorTo(time: number, unitMs: number): number {
  return Math.floor(time / unitMs) * unitMs;
}

/** The first multiple of a unit that is not before a time. */
export function ceilTo(time: number, unitMs: number): number {
  return Math.ceil(time / unitMs) * unitMs;
}
