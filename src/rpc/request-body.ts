/** Collects the body of one request, within the limits of all bodies; never looks into a message. */
import { noRoomForBody, unauthenticated } from "./errors.js";
import type { BodyLimits } from "./limits.js";

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

export interface UploadReaderDeps {
  readonly pieces: AsyncIterable<Buffer>;
  /** Closes when the request is over. */
  readonly source: BodySource;
  readonly limits: BodyLimits;
  /** The header Content-Length. */
  readonly contentLength: string | undefined;
  /** Whether the client is to send one message; otherwise it may send a stream of them. */
  readonly isOneMessage: boolean;
  /** Whether each message has its length before it. */
  readonly isEnveloped: boolean;
  /** Whether its caller is unknown: nothing of it is read. Default: false. */
  readonly isRefused?: boolean;
}

/**
 * A body for connect to read.
 *
 * A body of one message is not handed on before it is whole, or too long to be one. Connect decodes a message as soon as
 * its bytes are there and then waits for the end of the body: a client that never sends that would have us hold
 * objects, which take many times the bytes that are counted.
 *
 * And who stops early does not end it: connect would destroy the request then, and Node no longer read from its
 * connection, which the client goes on using.
 */
export class UploadReader implements AsyncIterable<Buffer> {
  readonly #pieces: AsyncIterator<Buffer>;
  readonly #limits: BodyLimits;
  readonly #isEnveloped: boolean;
  readonly #isRefused: boolean;
  /** What has come of a body of one message. */
  readonly #message: RequestBody | undefined;
  /** Of a stream, how many bytes have been read and are counted; undefined: they are thrown away. */
  #countedBytes: number | undefined = 0;
  #state: "unread" | "begun" | "ended" = "unread";
  #hadRoom = true;

  constructor(deps: UploadReaderDeps) {
    this.#pieces = deps.pieces[Symbol.asyncIterator]();
    this.#limits = deps.limits;
    this.#isEnveloped = deps.isEnveloped;
    this.#isRefused = deps.isRefused ?? false;
    this.#message = deps.isOneMessage
      ? new RequestBody(deps.source, deps.limits, deps.contentLength)
      : undefined;
    deps.source.once("close", () => this.#stopCounting());
  }

  [Symbol.asyncIterator](): AsyncIterator<Buffer> {
    return { next: () => this.#next() };
  }

  /** False: it was refused for want of room. */
  get hadRoom(): boolean {
    return this.#hadRoom;
  }

  /** Reads what is left of a body that has been read from; Node does so itself with one that has not. Never rejects. */
  async drain(): Promise<void> {
    this.#stopCounting();
    try {
      while (this.#state === "begun") {
        await this.#read();
      }
    } catch {
      // The client has left; it has its answer, or does not want it.
    }
  }

  /** @throws ConnectError when the caller is unknown, or there is no room for more */
  async #next(): Promise<IteratorResult<Buffer>> {
    if (this.#isRefused) {
      throw unauthenticated();
    }
    return await (this.#message === undefined ? this.#readStream() : this.#readMessage(this.#message));
  }

  /** @throws ConnectError when there is no room for more */
  async #readStream(): Promise<IteratorResult<Buffer>> {
    const piece = await this.#read();
    if (piece.done !== true && this.#countedBytes !== undefined) {
      const bytes = this.#countedBytes + piece.value.length;
      if (!this.#limits.tryGrow(this.#countedBytes, bytes)) {
        throw this.#refusal();
      }
      this.#countedBytes = bytes;
    }
    return piece;
  }

  /** @throws ConnectError when there is no room for more */
  async #readMessage(message: RequestBody): Promise<IteratorResult<Buffer>> {
    while (this.#state !== "ended" && !this.#isTooLong(message)) {
      const piece = await this.#read();
      if (piece.done !== true && !message.add(piece.value)) {
        message.take();
        throw this.#refusal();
      }
    }
    return message.length === 0 ? { done: true, value: undefined } : { done: false, value: message.take() };
  }

  /** Whether it is, or promises to be, longer than a message may be; connect then says so before it has come. */
  #isTooLong(message: RequestBody): boolean {
    const { requestMaxBytes } = this.#limits;
    return (
      message.length > ENVELOPE_BYTES + requestMaxBytes ||
      (this.#isEnveloped &&
        message.length >= ENVELOPE_BYTES &&
        message.bytes().readUInt32BE(1) > requestMaxBytes)
    );
  }

  #refusal(): Error {
    this.#hadRoom = false;
    return noRoomForBody();
  }

  async #read(): Promise<IteratorResult<Buffer>> {
    this.#state = "begun";
    const piece = await this.#pieces.next();
    if (piece.done === true) {
      this.#state = "ended";
    }
    return piece;
  }

  /** What was read is no longer counted, nor is what still comes. */
  #stopCounting(): void {
    this.#limits.leave(this.#countedBytes ?? 0);
    this.#countedBytes = undefined;
  }
}
