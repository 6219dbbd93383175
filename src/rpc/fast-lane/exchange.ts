/** One request and its response over HTTP, as the protocols of the fast lane use them: reads the body, writes the answer. */
import type { IncomingMessage, ServerResponse } from "node:http";
import {
  Http2ServerRequest,
  Http2ServerResponse,
  type IncomingHttpHeaders,
  type OutgoingHttpHeaders,
  type ServerHttp2Stream,
} from "node:http2";
import type { Logger } from "pino";
import type { RpcHandler } from "../../server/rpc-handler.js";
import type { BodyLimits } from "../limits.js";
import { RequestBody } from "../request-body.js";

/** Names in lower case. */
export type AnswerHeaders = Record<string, string>;

/** What the two kinds of exchange need. */
export interface ExchangeDeps {
  readonly stock: RpcHandler;
  readonly logger: Logger;
  /** Of the request, for the log. */
  readonly path: string;
}

/** Answers or hands back one request. No method throws, whatever the client has done meanwhile. */
export interface Exchange {
  /** Sends the whole answer, with its content-length. */
  respond(status: number, headers: AnswerHeaders, body: Uint8Array): void;
  /** There can be no answer. */
  fail(error: unknown): void;
}

/** Bodies up to this many bytes are written in one piece with the header: two writes cost more than the copy. */
const ONE_PIECE_MAX_BYTES = 4096;

/** The body of the last small answer, and the same as text: an answer without fields is the same bytes each time. */
let lastBody: Uint8Array | undefined;
let lastText = "";

/** Latin-1 maps each byte to itself; Node puts the header and a string together, but not a Buffer. */
function latin1Of(body: Uint8Array): string {
  if (body !== lastBody) {
    lastText = Buffer.from(body.buffer, body.byteOffset, body.length).toString("latin1");
    lastBody = body;
  }
  return lastText;
}

/** An exchange over HTTP/1.1. */
export class Http1Exchange implements Exchange {
  readonly #deps: ExchangeDeps;
  readonly #request: IncomingMessage;
  readonly #response: ServerResponse;

  constructor(deps: ExchangeDeps, request: IncomingMessage, response: ServerResponse) {
    this.#deps = deps;
    this.#request = request;
    this.#response = response;
  }

  respond(status: number, headers: AnswerHeaders, body: Uint8Array): void {
    const response = this.#response;
    if (response.destroyed) {
      return;
    }
    try {
      headers["content-length"] = String(body.length);
      response.writeHead(status, headers);
      if (body.length <= ONE_PIECE_MAX_BYTES) {
        response.end(latin1Of(body), "latin1");
      } else {
        response.end(body);
      }
    } catch (error) {
      this.fail(error);
    }
  }

  /** Gives the request to the stock lane. Nobody must have read from it. */
  handBack(): void {
    try {
      this.#deps.stock(this.#request, this.#response);
    } catch (error) {
      this.fail(error);
    }
  }

  fail(err: unknown): void {
    this.#deps.logger.error({ err, path: this.#deps.path }, "a call ended without an answer");
    this.#response.destroy();
  }
}

/** An exchange over HTTP/2. */
export class Http2Exchange implements Exchange {
  readonly #deps: ExchangeDeps;
  readonly #stream: ServerHttp2Stream;
  readonly #headers: IncomingHttpHeaders;
  readonly #rawHeaders: readonly string[];

  constructor(
    deps: ExchangeDeps,
    stream: ServerHttp2Stream,
    headers: IncomingHttpHeaders,
    rawHeaders: readonly string[],
  ) {
    this.#deps = deps;
    this.#stream = stream;
    this.#headers = headers;
    this.#rawHeaders = rawHeaders;
  }

  respond(status: number, headers: AnswerHeaders, body: Uint8Array): void {
    const stream = this.#stream;
    if (isGone(stream)) {
      return;
    }
    try {
      const head: OutgoingHttpHeaders = headers;
      head[":status"] = status;
      head["content-length"] = String(body.length);
      if (body.length === 0) {
        stream.respond(head, { endStream: true });
      } else {
        stream.respond(head);
        stream.end(body);
      }
    } catch (error) {
      this.fail(error);
    }
  }

  /** Sends an answer that ends in trailers, which are ready when it starts. */
  respondWithTrailers(
    headers: AnswerHeaders,
    body: Uint8Array | undefined,
    trailers: OutgoingHttpHeaders,
  ): void {
    const stream = this.#stream;
    if (isGone(stream)) {
      return;
    }
    try {
      stream.respond(headers, { waitForTrailers: true });
      stream.once("wantTrailers", () => stream.sendTrailers(trailers));
      stream.end(body);
    } catch (error) {
      this.fail(error);
    }
  }

  /**
   * Gives the request to the stock lane. Either the stream has its whole body again and is paused, or it has ended
   * and this was its body.
   */
  handBack(body?: Buffer): void {
    if (isGone(this.#stream)) {
      return;
    }
    try {
      const request = new Http2ServerRequest(this.#stream, this.#headers, {}, this.#rawHeaders);
      const response = new Http2ServerResponse(this.#stream);
      if (body === undefined) {
        // The first read makes the request listen to the stream; without a listener a stream loses what flows.
        request.read(0);
        this.#stream.resume();
      } else {
        request.push(body);
        request.push(null);
      }
      this.#deps.stock(request, response);
    } catch (error) {
      this.fail(error);
    }
  }

  fail(err: unknown): void {
    this.#deps.logger.error({ err, path: this.#deps.path }, "a call ended without an answer");
    this.#stream.destroy();
  }
}

function isGone(stream: ServerHttp2Stream): boolean {
  return stream.destroyed || stream.closed;
}

/** Who reads a body. False: the request is for someone else to read, from its first byte. */
export interface BodyReader {
  /** Called when a piece has come. */
  onPiece(body: RequestBody): boolean;
  /** Called when the body is whole. */
  onEnd(bytes: Buffer): boolean;
}

/**
 * Reads the body of an HTTP/1.1 request. `onRefused` is called when the reader refuses, or there is no room; nobody has
 * read from the request then. Nothing is called any more when the body ends early, because the client left.
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
  const body = new RequestBody(request, limits, request.headers["content-length"]);
  const handBack = (...pieces: (Buffer | null)[]): boolean => {
    // The stream's own method shows again.
    Reflect.deleteProperty(request, "push");
    // First the one who reads now, then what there is to read: as it would have been from the start.
    onRefused();
    return pieces.map((piece) => piece?.length === 0 || request.push(piece)).every(Boolean);
  };
  request.push = (piece: Buffer | null): boolean => {
    if (piece === null) {
      const bytes = body.take();
      return reader.onEnd(bytes) || handBack(bytes, null);
    }
    if (!body.add(piece)) {
      return handBack(body.take(), piece);
    }
    return reader.onPiece(body) || handBack(body.take());
  };
}

/**
 * The same for an HTTP/2 stream, by its events: it has often been pushed to before anyone can see it. When
 * `onRefused` is called the stream is paused and has all pieces again, unless `body` is given: then the stream has
 * ended, and that was in it.
 */
export function readStreamBody(
  stream: ServerHttp2Stream,
  contentLength: string | undefined,
  reader: BodyReader,
  limits: BodyLimits,
  onRefused: (body?: Buffer) => void,
): void {
  const body = new RequestBody(stream, limits, contentLength);
  const handBack = (...pieces: Buffer[]): void => {
    stream.off("data", onData).off("end", onEnd).pause();
    for (const piece of pieces.toReversed()) {
      stream.unshift(piece);
    }
    onRefused();
  };
  const onData = (piece: Buffer): void => {
    if (!body.add(piece)) {
      handBack(body.take(), piece);
    } else if (!reader.onPiece(body)) {
      handBack(body.take());
    }
  };
  const onEnd = (): void => {
    const bytes = body.take();
    // A client that resets its stream without an error ends the body, too, wherever it is.
    if (!stream.closed && !reader.onEnd(bytes)) {
      onRefused(bytes);
    }
  };
  stream.on("data", onData).on("end", onEnd);
}
