/** A unary gRPC call on the fast lane: https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md */
import type { OutgoingHttpHeaders } from "node:http2";
import type { ConnectError } from "@connectrpc/connect";
import { compressedFlag, encodeEnvelope } from "@connectrpc/connect/protocol";
import { grpcStatusOk, setTrailerStatus } from "@connectrpc/connect/protocol-grpc";
import type { MessageFormat } from "../unary-method.js";
import type { AnswerHeaders, Http2Exchange } from "./exchange.js";
import type { LaneCall } from "./lane-call.js";
import type { CallOutcome, LaneMethod, RequestMessage } from "./lane-method.js";
import type { BodyReader, RequestBody } from "./request-body.js";
import { chooseCompression, isWorthCompressing, type ResponseCompression } from "./response-compression.js";

/** The formats by the content types that are taken. The stock lane knows more spellings of them. */
export const GRPC_FORMATS: ReadonlyMap<string | undefined, MessageFormat> = new Map([
  ["application/grpc", "proto"],
  ["application/grpc+proto", "proto"],
  ["application/grpc+json", "json"],
]);

const CONTENT_TYPES: Readonly<Record<MessageFormat, string>> = {
  json: "application/grpc+json",
  proto: "application/grpc+proto",
};
/** A byte of flags and four of length, before each message. */
const PREFIX_BYTES = 5;
const OK_TRAILERS: OutgoingHttpHeaders = Object.freeze({ "grpc-status": grpcStatusOk });

export interface GrpcUnaryDeps {
  readonly method: LaneMethod;
  readonly format: MessageFormat;
  readonly call: LaneCall;
  readonly exchange: Http2Exchange;
  /** The request's header Grpc-Accept-Encoding. */
  readonly acceptEncoding: string | undefined;
  readonly requestMaxBytes: number;
}

/**
 * Reads the one message, has it answered, and writes the answer or the error.
 *
 * What is wrong with a body is found with the byte that makes it so, as the stock lane does, which may answer before
 * the client has sent the rest.
 */
export class GrpcUnary implements BodyReader, CallOutcome {
  readonly #method: LaneMethod;
  readonly #format: MessageFormat;
  readonly #call: LaneCall;
  readonly #exchange: Http2Exchange;
  readonly #compression: ResponseCompression;
  readonly #requestMaxBytes: number;
  /** Of the message with its prefix, once that is there. */
  #wholeLength: number | undefined;
  #message: RequestMessage | undefined;

  constructor(deps: GrpcUnaryDeps) {
    this.#method = deps.method;
    this.#format = deps.format;
    this.#call = deps.call;
    this.#exchange = deps.exchange;
    this.#compression = chooseCompression(deps.acceptEncoding);
    this.#requestMaxBytes = deps.requestMaxBytes;
  }

  onPiece(body: RequestBody): boolean {
    if (this.#wholeLength === undefined) {
      if (body.length < PREFIX_BYTES) {
        return true;
      }
      const prefix = body.bytes();
      const length = prefix.readUInt32BE(1);
      if (prefix[0] !== 0 || length > this.#requestMaxBytes) {
        return false;
      }
      this.#wholeLength = PREFIX_BYTES + length;
    }
    if (body.length !== this.#wholeLength) {
      return body.length < this.#wholeLength;
    }
    this.#message = this.#method.decode(body.bytes().subarray(PREFIX_BYTES), this.#format);
    return this.#message !== undefined;
  }

  onEnd(): boolean {
    if (this.#message === undefined) {
      return false;
    }
    this.#method.invoke(this.#message, this.#call, this.#format, this);
    return true;
  }

  onMessage(message: Uint8Array): void {
    if (this.#compression === null || !isWorthCompressing(message)) {
      this.#exchange.respondWithTrailers(this.#headers(), encodeEnvelope(0, message), OK_TRAILERS);
    } else {
      this.#compression.compress(message).then(
        (bytes) =>
          this.#exchange.respondWithTrailers(
            this.#headers(),
            encodeEnvelope(compressedFlag, bytes),
            OK_TRAILERS,
          ),
        (failure: unknown) => this.#exchange.fail(failure),
      );
    }
  }

  onError(error: ConnectError): void {
    try {
      const trailers = Object.fromEntries(setTrailerStatus(new Headers(), error));
      this.#exchange.respondWithTrailers(this.#headers(), undefined, trailers);
    } catch (failure) {
      this.#exchange.fail(failure);
    }
  }

  #headers(): AnswerHeaders {
    const headers: AnswerHeaders = { "content-type": CONTENT_TYPES[this.#format] };
    if (this.#compression !== null) {
      headers["grpc-encoding"] = this.#compression.name;
    }
    return headers;
  }
}
