/** Reads the body of a request for the stock lane, within the limits of all bodies; it never looks into a message. */
import type { BodyLimits } from "./body-limits.js";
import { noRoomForBody, unauthenticated } from "./errors.js";
import { type BodySource, ENVELOPE_BYTES, RequestBody } from "./request-body.js";

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
