/** A unary gRPC call on the fast lane: https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md */
import type { OutgoingHttpHeaders } from "node:http2";
import type { ConnectError } from "@connectrpc/connect";
import { compressedFlag, encodeEnvelope } from "@connectrpc/connect/protocol";
import { grpcStatusOk, setTrailerStatus } from "@connectrpc/connect/protocol-grpc";
import { ENVELOPE_BYTES, type RequestBody } from "../request-body.js";
import type { MessageFormat } from "../unary-method.js";
import type { BodyReader } from "./body-reader.js";
import type { AnswerHeaders, Http2Exchange } from "./exchange.js";
import type { LaneCall } from "./lane-call.js";
import type { CallOutcome, LaneMethod } from "./lane-method.js";
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

/** Reads the one message, has it answered, and writes the answer or the error. */
export class GrpcUnary implements BodyReader, CallOutcome {
  readonly #method: LaneMethod;
  readonly #format: MessageFormat;
  readonly #call: LaneCall;
  readonly #exchange: Http2Exchange;
  readonly #compression: ResponseCompression;
  readonly #requestMaxBytes: number;
  /** Of the message with its prefix, once that is there. */
  #wholeLength: number | undefined;

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
      if (body.length < ENVELOPE_BYTES) {
        return true;
      }
      const prefix = body.bytes();
      const length = prefix.readUInt32BE(1);
      if (prefix[0] !== 0 || length > this.#requestMaxBytes) {
        return false;
      }
      this.#wholeLength = ENVELOPE_BYTES + length;
    }
    return body.length <= this.#wholeLength;
  }

  onEnd(bytes: Buffer): boolean {
    if (bytes.length !== this.#wholeLength) {
      return false;
    }
    const message = this.#method.decode(bytes.subarray(ENVELOPE_BYTES), this.#format);
    if (message === undefined) {
      return false;
    }
    this.#method.invoke(message, this.#call, this.#format, this);
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
