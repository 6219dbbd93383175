/** What requests may take of memory before they are whole, for both lanes; it never holds a byte itself. */

/** Bounds of request bodies, in bytes. */
export interface BodyLimitsOptions {
  /** Largest message, after decompression. */
  readonly requestMaxBytes: number;
  /** Memory for the bodies of all requests together that are still arriving. */
  readonly bodiesMaxBytes: number;
}

export const DEFAULT_BODY_LIMITS: BodyLimitsOptions = Object.freeze({
  requestMaxBytes: 1024 * 1024,
  bodiesMaxBytes: 64 * 1024 * 1024,
});

/**
 * A body up to this size is not counted, in bytes. The number of requests bounds what such bodies take, and they are let
 * in however many large ones are on their way, or stuck on it. Far more than any Push has.
 */
const SMALL_BODY_BYTES = 4 * 1024;

/** Knows the bounds and what is taken. */
export class BodyLimits {
  readonly requestMaxBytes: number;
  readonly #bodiesMaxBytes: number;
  #usedBytes = 0;

  constructor(options: BodyLimitsOptions = DEFAULT_BODY_LIMITS) {
    this.requestMaxBytes = options.requestMaxBytes;
    this.#bodiesMaxBytes = options.bodiesMaxBytes;
  }

  /** What counted bodies take now, in bytes. */
  get usedBytes(): number {
    return this.#usedBytes;
  }

  /** Whether a body of this size is counted. */
  counts(bytes: number): boolean {
    return bytes > SMALL_BODY_BYTES;
  }

  /** Lets a body grow. False: there is no room, and it still counts with `fromBytes`. */
  tryGrow(fromBytes: number, toBytes: number): boolean {
    const usedBytes = this.#usedBytes - this.#counted(fromBytes) + this.#counted(toBytes);
    if (usedBytes > this.#bodiesMaxBytes) {
      return false;
    }
    this.#usedBytes = usedBytes;
    return true;
  }

  /** Takes note that a body is gone. */
  leave(bytes: number): void {
    this.#usedBytes -= this.#counted(bytes);
  }

  #counted(bytes: number): number {
    return this.counts(bytes) ? bytes : 0;
  }
}
