/** Collects the body of one request, within what all of them may take; it reads nothing by itself. */
import type { BodyLimits } from "./body-limits.js";

/** Where a body comes from: a request, its response, or their stream. What has come is given up when it closes. */
export interface BodySource {
  once(event: "close", listener: () => void): unknown;
}

const NO_BYTES = Buffer.alloc(0);
/** Least memory for a body of more than one piece, in bytes. */
const CAPACITY_MIN = 1024;
/** Most bytes that a piece may keep in memory beside its own. */
const BESIDE_MAX_BYTES = 4 * 1024;
/** Flags and length that gRPC, gRPC-Web and Connect's streams put before a message, in bytes. */
export const ENVELOPE_BYTES = 5;

/** What has come of a body so far. Whoever is done with it takes it, unless the source of the body closes. */
export class RequestBody {
  readonly #source: BodySource;
  readonly #limits: BodyLimits;
  readonly #expectedBytes: number;
  #buffer: Buffer = NO_BYTES;
  #length = 0;
  /** Bytes that `limits` knows of. */
  #countedBytes = 0;

  /** `contentLength` is the header; without it a body may be as long as the longest message. */
  constructor(source: BodySource, limits: BodyLimits, contentLength: string | undefined) {
    this.#source = source;
    this.#limits = limits;
    this.#expectedBytes = Number(contentLength ?? ENVELOPE_BYTES + limits.requestMaxBytes);
  }

  /** Bytes so far. */
  get length(): number {
    return this.#length;
  }

  /**
   * Adds what came next. A body of one piece is that piece, unless it keeps much else in memory; the pieces of any other
   * are copied together. False: there is no room for it, and it was not added.
   */
  add(piece: Buffer): boolean {
    const length = this.#length + piece.length;
    if (!this.#reserve(piece, length)) {
      return false;
    }
    if (this.#length > 0) {
      piece.copy(this.#buffer, this.#length);
    }
    this.#length = length;
    return true;
  }

  /** All bytes so far; do not change them. */
  bytes(): Buffer {
    return this.#buffer.length === this.#length ? this.#buffer : this.#buffer.subarray(0, this.#length);
  }

  /** Gives its bytes away: it has none any more, and their memory is no longer counted. */
  take(): Buffer {
    const bytes = this.bytes();
    this.#limits.leave(this.#countedBytes);
    this.#countedBytes = 0;
    this.#buffer = NO_BYTES;
    this.#length = 0;
    return bytes;
  }

  /** Sees to it that the buffer has room for `length` bytes, of which `piece` is the end. */
  #reserve(piece: Buffer, length: number): boolean {
    if (length <= this.#buffer.length) {
      return true;
    }
    const isFirst = this.#length === 0;
    // The first piece has no room behind it, so it is never written to.
    const capacity = isFirst ? length : this.#roomFor(length);
    if (!this.#count(capacity)) {
      return false;
    }
    if (isFirst) {
      this.#buffer = withoutMuchBeside(piece);
    } else {
      const larger = Buffer.allocUnsafeSlow(capacity);
      this.#buffer.copy(larger, 0, 0, this.#length);
      this.#buffer = larger;
    }
    return true;
  }

  /** Twice what is needed, so that the bytes are copied a few times at most; but no more than will come. */
  #roomFor(length: number): number {
    const ample = Math.max(2 * length, CAPACITY_MIN);
    return length <= this.#expectedBytes ? Math.min(ample, this.#expectedBytes) : ample;
  }

  #count(capacity: number): boolean {
    if (!this.#limits.counts(capacity)) {
      return true;
    }
    if (!this.#limits.tryGrow(this.#countedBytes, capacity)) {
      return false;
    }
    if (this.#countedBytes === 0) {
      this.#source.once("close", () => this.take());
    }
    this.#countedBytes = capacity;
    return true;
  }
}

/** The piece, or a copy if it is part of something much larger: what Node read at once lives as long as any part of it. */
function withoutMuchBeside(piece: Buffer): Buffer {
  if (piece.buffer.byteLength - piece.length <= BESIDE_MAX_BYTES) {
    return piece;
  }
  // Not of Node's pool: any part of it keeps 64 KiB in newer versions of Node.
  const copy = Buffer.allocUnsafeSlow(piece.length);
  piece.copy(copy);
  return copy;
}
