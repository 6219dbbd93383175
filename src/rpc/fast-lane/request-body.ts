/** Collects the body of a request whose kind is known; it never judges the message in it. */
import type { IncomingMessage } from "node:http";
import type { ServerHttp2Stream } from "node:http2";
import type { BodyLimits } from "../body-limits.js";

const NO_BYTES = Buffer.alloc(0);
/** Least memory for a body of more than one piece, in bytes. */
const CAPACITY_MIN = 1024;

/** What has come of a body so far. Whoever is done with it calls end(), unless the source of the body closes. */
export class RequestBody {
  readonly #source: IncomingMessage | ServerHttp2Stream;
  readonly #limits: BodyLimits;
  #buffer: Buffer = NO_BYTES;
  #length = 0;
  /** Bytes that `limits` knows of; 0 for a body of one piece, which Node has made room for already. */
  #countedBytes = 0;
  #hasRoom = true;

  constructor(source: IncomingMessage | ServerHttp2Stream, limits: BodyLimits) {
    this.#source = source;
    this.#limits = limits;
  }

  /** Bytes so far. */
  get length(): number {
    return this.#length;
  }

  /** False: there is no room for more. */
  get hasRoom(): boolean {
    return this.#hasRoom;
  }

  /** Adds what came next. A lone piece is not copied; of many small ones, none is kept. */
  add(piece: Buffer): void {
    if (this.#length === 0) {
      this.#buffer = piece;
    } else {
      this.#reserve(this.#length + piece.length);
      piece.copy(this.#buffer, this.#length);
    }
    this.#length += piece.length;
  }

  /** All bytes so far; do not change them. */
  bytes(): Buffer {
    return this.#buffer.length === this.#length ? this.#buffer : this.#buffer.subarray(0, this.#length);
  }

  /** Its memory is no longer counted. */
  end(): void {
    this.#limits.leave(this.#countedBytes);
    this.#countedBytes = 0;
  }

  #reserve(length: number): void {
    // The first piece has no room behind it, so it is never written to.
    if (length > this.#buffer.length) {
      const capacity = Math.max(2 * length, CAPACITY_MIN);
      this.#count(capacity);
      const larger = Buffer.allocUnsafe(capacity);
      this.#buffer.copy(larger, 0, 0, this.#length);
      this.#buffer = larger;
    }
  }

  #count(capacity: number): void {
    if (this.#countedBytes === 0) {
      this.#source.once("close", () => this.end());
    }
    this.#hasRoom = this.#limits.tryGrow(this.#countedBytes, capacity);
    if (this.#hasRoom) {
      this.#countedBytes = capacity;
    }
  }
}

/** Who reads a body. False: the request is for someone else to read, from its first byte. */
export interface BodyReader {
  /** Called with each piece that has come. */
  onPiece(body: RequestBody): boolean;
  /** Called when the body is whole. */
  onEnd(body: RequestBody): boolean;
}

/**
 * Reads the body of an HTTP/1.1 request. `onRefused` is called when the reader refuses; nobody has read from the
 * request then. Nothing is called any more when the body ends early, because the client left.
 *
 * It reads where Node's parser pushes pieces, and null for the end, into the request, which is a stream. The buffers
 * and events of the stream cost two turns of the event loop and a tenth of the time that Node takes for a small
 * request. And what has not been pushed can still be, as if it came only now.
 */
export function readRequestBody(
  request: IncomingMessage,
  reader: BodyReader,
  limits: BodyLimits,
  onRefused: () => void,
): void {
  const body = new RequestBody(request, limits);
  request.push = (piece: Buffer | null): boolean => {
    if (piece !== null) {
      body.add(piece);
    } else {
      body.end();
    }
    if (piece === null ? reader.onEnd(body) : body.hasRoom && reader.onPiece(body)) {
      return true;
    }
    body.end();
    // The stream's own method shows again.
    Reflect.deleteProperty(request, "push");
    // First the one who reads now, then what there is to read: as it would have been from the start.
    onRefused();
    const wantsMore = body.length === 0 || request.push(body.bytes());
    return piece === null ? request.push(null) : wantsMore;
  };
}

/**
 * The same for an HTTP/2 stream, by its events: it has often been pushed to before anyone can see it. When
 * `onRefused` is called the stream is paused and has all pieces again, unless `body` is given: then the stream has
 * ended, and that was in it.
 */
export function readStreamBody(
  stream: ServerHttp2Stream,
  reader: BodyReader,
  limits: BodyLimits,
  onRefused: (body?: Buffer) => void,
): void {
  const body = new RequestBody(stream, limits);
  const onData = (piece: Buffer): void => {
    body.add(piece);
    if (!body.hasRoom || !reader.onPiece(body)) {
      body.end();
      stream.off("data", onData).off("end", onEnd).pause();
      stream.unshift(body.bytes());
      onRefused();
    }
  };
  const onEnd = (): void => {
    body.end();
    // A client that resets its stream without an error ends the body, too, wherever it is.
    if (!stream.closed && !reader.onEnd(body)) {
      onRefused(body.bytes());
    }
  };
  stream.on("data", onData).on("end", onEnd);
}
