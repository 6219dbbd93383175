/** Those who wait for the buffer: to get rid of events, or to have room; it never looks into the buffer itself. */
import { type Clock, TIMER_MAX_MS } from "../../src/util/clock.js";

interface Waiter {
  readonly isOver: () => boolean;
  readonly end: (isOver: boolean) => void;
}

/** Waits for conditions that are looked at whenever {@link Waits.check} is called. */
export class Waits {
  readonly #clock: Clock;
  readonly #waiters = new Set<Waiter>();
  #hasEnded = false;

  /** The clock's timers should keep a process alive: while someone waits, one of them runs. */
  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Resolves with true once the condition holds; with false after `timeoutMs` (infinite: no limit), or at the end. */
  until(isOver: () => boolean, timeoutMs: number): Promise<boolean> {
    if (isOver() || this.#hasEnded) {
      return Promise.resolve(isOver());
    }
    return new Promise((resolve) => {
      const waiter: Waiter = {
        isOver,
        end: (result) => {
          cancel();
          this.#waiters.delete(waiter);
          resolve(result);
        },
      };
      const cancel = this.#schedule(timeoutMs, () => waiter.end(false));
      this.#waiters.add(waiter);
    });
  }

  /** Something has changed: ends the waits whose condition holds now. */
  check(): void {
    for (const waiter of this.#waiters) {
      if (waiter.isOver()) {
        waiter.end(true);
      }
    }
  }

  /** Ends all waits, those to come included. */
  end(): void {
    this.#hasEnded = true;
    for (const waiter of this.#waiters) {
      waiter.end(false);
    }
  }

  /** Of a delay that is longer than a timer can be, infinite ones included, a part at a time. */
  #schedule(delayMs: number, callback: () => void): () => void {
    if (delayMs <= TIMER_MAX_MS) {
      return this.#clock.schedule(delayMs, callback);
    }
    let cancel = this.#clock.schedule(TIMER_MAX_MS, () => {
      cancel = this.#schedule(delayMs - TIMER_MAX_MS, callback);
    });
    return () => cancel();
  }
}
