/** How fast batches have been leaving the queue lately, and what a refused caller should be told of it. */

const RETRY_MIN_MS = 100;
const RETRY_MAX_MS = 30_000;
/** Spread of the advice, so that refused callers do not return in step. */
const JITTER = 0.2;
/** Weight of the newest batch in the moving average. */
const NEWEST_WEIGHT = 0.3;

/** Estimates the drain rate from finished batches: an exponentially weighted mean. */
export class DrainRate {
  #rowsPerMs = 0;

  /** Books a batch of `rows` that took `durationMs` to write. */
  observe(rows: number, durationMs: number): void {
    const rate = rows / Math.max(durationMs, 1);
    this.#rowsPerMs =
      this.#rowsPerMs === 0 ? rate : this.#rowsPerMs + NEWEST_WEIGHT * (rate - this.#rowsPerMs);
  }

  /**
   * When a refused caller should try again, in milliseconds: backlog ÷ recent rate, at least `floorMs`, from
   * 100 ms to 30 s, spread by ±20 %.
   */
  retryAfterMs(backlogRows: number, floorMs: number, random: () => number): number {
    const drainMs = this.#rowsPerMs === 0 ? 1000 : backlogRows / this.#rowsPerMs;
    const spread = 1 + JITTER * (2 * random() - 1);
    const advice = Math.max(drainMs, floorMs) * spread;
    return Math.round(Math.min(RETRY_MAX_MS, Math.max(RETRY_MIN_MS, advice)));
  }
}
