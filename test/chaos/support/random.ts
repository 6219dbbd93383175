/** Random numbers that a printed seed brings back. */

/** Gives whole numbers from `min` to `max`, both included. */
export type RandomInt = (min: number, max: number) => number;

/** The seed of this run: CHAOS_SEED, or a new one. */
export const chaosSeed = Number(process.env.CHAOS_SEED ?? Math.floor(Math.random() * 2 ** 32));

/** A generator for one scenario; scenarios do not share one, so each repeats alone (mulberry32). */
export function seededRandom(seed: number): RandomInt {
  let state = seed >>> 0;
  const next = () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
  return (min, max) => min + Math.floor(next() * (max - min + 1));
}
