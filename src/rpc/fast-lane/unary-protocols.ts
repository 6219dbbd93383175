/**
 * A unary call on the fast lane, in the two protocols that it speaks:
 * Connect (https://connectrpc.com/docs/protocol#unary-request) and
 * gRPC (https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md).
 */
import type { OutgoingHttpHeaders } from "node:http2";
import type { ConnectError } from "@connectrpc/connect";
import { compressedFlag, encodeEnvelope } from "@connectrpc/connect/protocol";
import { codeToHttpStatus, errorToJsonBytes } from "@connectrpc/connect/protocol-connect";
import { grpcStatusOk, setTrailerStatus } from "@connectrpc/connect/protocol-grpc";
import {
  chooseCompression,
  isWorthCompressing,
  PROTOCOL_OPTIONS,
  type ResponseCompression,
} from "../protocol-options.js";
import { ENVELOPE_BYTES, type RequestBody } from "../request-body.js";
import type { MessageFormat } from "../unary-method.js";
import type { AnswerHeaders, BodyReader, Exchange, Http2Exchange } from "./exchange.js";
import type { LaneCall } from "./fast-lane.js";
import type { CallOutcome, LaneMethod } from "./lane-method.js";

/** The formats by the content types that are taken. The stock lane knows more spellings of them. */
export const CONNECT_FORMATS: ReadonlyMap<string | undefined, MessageFormat> = new Map([
  ["application/json", "json"],
  ["application/json; charset=utf-8", "json"],
  ["application/proto", "proto"],
]);

const HTTP_OK = 200;
const CONNECT_CONTENT_TYPES: Readonly<Record<MessageFormat, string>> = {
  json: "application/json",
  proto: "application/proto",
};

export interface ConnectUnaryDeps {
  readonly method: LaneMethod;
  readonly format: MessageFormat;
  readonly call: LaneCall;
  readonly exchange: Exchange;
  /** The request's header Accept-Encoding. */
  readonly acceptEncoding: string | undefined;
  readonly requestMaxBytes: number;
}

/** Reads the message, has it answered, and writes the answer or the error. */
export class ConnectUnary implements BodyReader, CallOutcome {
  readonly #method: LaneMethod;
  readonly #format: MessageFormat;
  readonly #call: LaneCall;
  readonly #exchange: Exchange;
  readonly #acceptEncoding: string | undefined;
  readonly #requestMaxBytes: number;

  constructor(deps: ConnectUnaryDeps) {
    this.#method = deps.method;
    this.#format = deps.format;
    this.#call = deps.call;
    this.#exchange = deps.exchange;
    this.#acceptEncoding = deps.acceptEncoding;
    this.#requestMaxBytes = deps.requestMaxBytes;
  }

  onPiece(body: RequestBody): boolean {
    return body.length <= this.#requestMaxBytes;
  }

  onEnd(bytes: Buffer): boolean {
    const message = this.#method.decode(bytes, this.#format);
    if (message === undefined) {
      return false;
    }
    this.#method.invoke(message, this.#call, this.#format, this);
    return true;
  }

  onMessage(message: Uint8Array): void {
    this.#answer(HTTP_OK, { "content-type": CONNECT_CONTENT_TYPES[this.#format] }, message);
  }

  onError(error: ConnectError): void {
    try {
      const headers = { "content-type": CONNECT_CONTENT_TYPES.json, ...Object.fromEntries(error.metadata) };
      this.#answer(
        codeToHttpStatus(error.code),
        headers,
        errorToJsonBytes(error, PROTOCOL_OPTIONS.jsonOptions),
      );
    } catch (failure) {
      this.#exchange.fail(failure);
    }
  }

  #answer(status: number, headers: AnswerHeaders, body: Uint8Array): void {
    const compression = isWorthCompressing(body) ? chooseCompression(this.#acceptEncoding) : null;
    if (compression === null) {
      this.#exchange.respond(status, headers, body);
    } else {
      headers["content-encoding"] = compression.name;
      compression.compress(body).then(
        (compressed) => this.#exchange.respond(status, headers, compressed),
        (failure: unknown) => this.#exchange.fail(failure),
      );
    }
  }
}

/** The formats by the content types that are taken. The stock lane knows more spellings of them. */
export const GRPC_FORMATS: ReadonlyMap<string | undefined, MessageFormat> = new Map([
  ["application/grpc", "proto"],
  ["application/grpc+proto", "proto"],
  ["application/grpc+json", "json"],
]);

const GRPC_CONTENT_TYPES: Readonly<Record<MessageFormat, string>> = {
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
    const headers: AnswerHeaders = { "content-type": GRPC_CONTENT_TYPES[this.#format] };
    if (this.#compression !== null) {
      headers["grpc-encoding"] = this.#compression.name;
    }
    return headers;
  }
}
