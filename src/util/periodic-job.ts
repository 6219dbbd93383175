/** A background job that runs every now and then: the timer, the retry and the stop that all such jobs share. */
import type { Clock } from "./clock.js";

export interface PeriodicJobDeps {
  readonly clock: Clock;
  /** From start() to the first pass, in milliseconds. */
  readonly firstMs: number;
  /** From a pass that failed to the next one, in milliseconds. */
  readonly retryMs: number;
  /**
   * Does the work once, and resolves with the time to the next pass, in milliseconds. Must end soon after the signal
   * aborts.
   */
  readonly pass: (signal: AbortSignal) => Promise<number>;
  /** Tells the log why a pass failed. Not called for a pass that the stop ended. */
  readonly onFailure: (error: unknown) => void;
}

/**
 * Runs one pass at a time. `new` → `started` by start(); → `closed`, for good, by close(), which ends the pass in
 * progress through its signal.
 */
export class PeriodicJob {
  readonly #deps: PeriodicJobDeps;
  readonly #closing = new AbortController();
  #cancelTimer: (() => void) | undefined;
  #pass: Promise<void> = Promise.resolve();

  constructor(deps: PeriodicJobDeps) {
    this.#deps = deps;
  }

  /** Aborts when the job is closed. */
  get signal(): AbortSignal {
    return this.#closing.signal;
  }

  /** Schedules the first pass, unless run() has scheduled one already. */
  start(): void {
    if (this.#cancelTimer === undefined) {
      this.#runIn(this.#deps.firstMs);
    }
  }

  /** Runs a pass now, after the one in progress if there is one, and schedules the next. Never rejects. */
  run(): Promise<void> {
    this.#cancelTimer?.();
    this.#pass = this.#pass.then(() => this.#run());
    return this.#pass;
  }

  /** Resolves when no pass is in progress any more; none follows. Safe before start() and twice. */
  async close(): Promise<void> {
    this.#closing.abort(new Error("the service is stopping"));
    this.#cancelTimer?.();
    await this.#pass;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  async #run(): Promise<void> {
    const { pass, retryMs, onFailure } = this.#deps;
    if (this.signal.aborted) {
      return;
    }
    let nextMs = retryMs;
    try {
      nextMs = await pass(this.signal);
    } catch (error) {
      if (this.signal.aborted) {
        return;
      }
      onFailure(error);
    }
    this.#runIn(nextMs);
  }

  #runIn(ms: number): void {
    if (!this.signal.aborted) {
      this.#cancelTimer?.();
      this.#cancelTimer = this.#deps.clock.schedule(ms, () => void this.run());
    }
  }
}
