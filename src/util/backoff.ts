/** How long to wait between tries; it never waits by itself. */

export interface BackoffOptions {
  /** Upper bound of the first wait, in milliseconds. */
  readonly firstMs: number;
  /** Upper bound of every wait, in milliseconds. */
  readonly maxMs: number;
  /** Lower bound of every wait, in milliseconds; 0 for full jitter. */
  readonly minMs?: number;
}

/** While a person has to repair the schema: asking often only fills the log. */
export const SCHEMA_BACKOFF: BackoffOptions = { firstMs: 10_000, maxMs: 30_000, minMs: 1_000 };

/**
 * A wait before try `failures + 1`, in milliseconds: exponential with full jitter, so that many services that
 * lost the same database do not come back in step.
 * Source: https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/
 *
 * `random` gives a number in [0, 1).
 */
export function backoffMs(failures: number, options: BackoffOptions, random: () => number): number {
  const ceiling = Math.min(options.maxMs, options.firstMs * 2 ** Math.min(failures - 1, 30));
  return Math.max(options.minMs ?? 0, Math.round(random() * ceiling));
}
