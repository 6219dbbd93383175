/** One request and its response over HTTP, as the protocols of the fast lane use them; it judges nothing. */
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
