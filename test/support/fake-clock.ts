/** A clock that stands still until a test moves it; it never looks at the machine's. */
import { type Clock, TIMER_MAX_MS } from "../../src/util/clock.js";

interface Timer {
  /** On the scale of `elapsed()`, in milliseconds. */
  readonly at: number;
  readonly callback: () => void;
}

/** More timers than this at one moment: one of them renews itself without a delay, for ever. */
const TIMERS_PER_MOMENT_MAX = 10_000;

/**
 * Time by hand. `now()` starts at `startMs` (Unix milliseconds) and `elapsed()` at 0; {@link FakeClock.advance}
 * moves both, {@link FakeClock.setNow} the first alone.
 */
export class FakeClock implements Clock {
  #nowMs: number;
  #elapsedMs = 0;
  readonly #timers = new Set<Timer>();

  constructor(startMs = Date.UTC(2026, 0, 15, 12)) {
    this.#nowMs = startMs;
  }

  // Properties, not methods: like the machine's clock, they may be handed on by themselves.
  readonly now = (): number => this.#nowMs;

  readonly elapsed = (): number => this.#elapsedMs;

  readonly schedule = (delayMs: number, callback: () => void): (() => void) => {
    // As the machine's timers do: one that is too long fires at once.
    const soundMs = delayMs > TIMER_MAX_MS ? 1 : Math.max(0, delayMs);
    const timer = { at: this.#elapsedMs + soundMs, callback };
    this.#timers.add(timer);
    return () => void this.#timers.delete(timer);
  };

  /** Timers that have neither fired nor been cancelled. */
  get pendingTimers(): number {
    return this.#timers.size;
  }

  /** Sets the wall clock, as an operator or NTP does. No timer fires, and durations are not affected. */
  setNow(ms: number): void {
    this.#nowMs = ms;
  }

  /** Lets all that is ready run, without moving time. */
  async settle(): Promise<void> {
    // An immediate comes only after all promises that are ready, and those that they make ready, have run.
    await new Promise<void>((resolve) => setImmediate(resolve));
  }

  /**
   * Moves time on by `ms`. Timers that come due fire at their own time and in its order (in the order in which
   * they were made, when due at the same time), those that they set included. What a timer makes ready runs before
   * the next one fires.
   */
  async advance(ms: number): Promise<void> {
    await this.settle();
    const end = this.#elapsedMs + ms;
    let firedAtMoment = 0;
    for (let timer = this.#nextUntil(end); timer !== undefined; timer = this.#nextUntil(end)) {
      firedAtMoment = timer.at > this.#elapsedMs ? 1 : firedAtMoment + 1;
      if (firedAtMoment > TIMERS_PER_MOMENT_MAX) {
        throw new Error(`timers keep coming due at ${timer.at} ms`);
      }
      this.#moveTo(timer.at);
      this.#timers.delete(timer);
      timer.callback();
      await this.settle();
    }
    this.#moveTo(end);
  }

  #nextUntil(end: number): Timer | undefined {
    let next: Timer | undefined;
    for (const timer of this.#timers) {
      if (timer.at <= end && (next === undefined || timer.at < next.at)) {
        next = timer;
      }
    }
    return next;
  }

  #moveTo(elapsedMs: number): void {
    this.#nowMs += elapsedMs - this.#elapsedMs;
    this.#elapsedMs = elapsedMs;
  }
}
