/** Time as the service sees it: one interface, injected, so that tests own the clock; it never waits by itself. */

/** Longest delay of a timer, in milliseconds, some 24 days: in Node and in browsers a longer one fires at once. */
export const TIMER_MAX_MS = 2 ** 31 - 1;

/** A source of time. */
export interface Clock {
  /** Unix time in milliseconds. May jump when the machine's clock is set. */
  now(): number;
  /** Milliseconds since some fixed moment; never runs back. For durations and deadlines. */
  elapsed(): number;
  /** Calls `callback` once, `delayMs` from now (at most {@link TIMER_MAX_MS}), unless the returned function is called before. */
  schedule(delayMs: number, callback: () => void): () => void;
}

/** The machine's clock. */
export const systemClock: Clock = {
  now: () => Date.now(),
  elapsed: () => performance.now(),
  schedule: (delayMs, callback) => {
    const timer = setTimeout(callback, delayMs);
    return () => clearTimeout(timer);
  },
};

/** The machine's clock, whose timers by themselves do not keep a Node process alive. */
export const backgroundClock: Clock = {
  ...systemClock,
  schedule: (delayMs, callback) => {
    const timer: unknown = setTimeout(callback, delayMs);
    // In browsers a timer is a number.
    if (typeof timer === "object") {
      (timer as { unref(): void }).unref();
    }
    return () => clearTimeout(timer as number);
  },
};
