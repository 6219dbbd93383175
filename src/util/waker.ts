/** The sleep of a background loop: ends after a time or when someone wakes it; it never decides what is due. */
import type { Clock } from "./clock.js";

/** Lets one loop wait, and others end its wait. A wake-up that comes while nobody waits ends the next wait. */
export class Waker {
  readonly #clock: Clock;
  #resume: (() => void) | undefined;
  #isPending = false;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Ends the wait, now or the next. */
  wake(): void {
    this.#isPending = true;
    this.#resume?.();
  }

  /** Resolves at a wake-up or, if given, after `ms` milliseconds. */
  async wait(ms?: number): Promise<void> {
    if (!this.#isPending) {
      await new Promise<void>((resolve) => {
        const cancel = ms === undefined ? () => undefined : this.#clock.schedule(ms, resolve);
        this.#resume = () => {
          cancel();
          resolve();
        };
      });
      this.#resume = undefined;
    }
    this.#isPending = false;
  }
}
