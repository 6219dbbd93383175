/** A unary call of the Connect protocol on the fast lane: https://connectrpc.com/docs/protocol#unary-request */
import type { ConnectError } from "@connectrpc/connect";
import { codeToHttpStatus, errorToJsonBytes } from "@connectrpc/connect/protocol-connect";
import { PROTOCOL_OPTIONS } from "../protocol-options.js";
import type { RequestBody } from "../request-body.js";
import type { MessageFormat } from "../unary-method.js";
import type { BodyReader } from "./body-reader.js";
import type { AnswerHeaders, Exchange } from "./exchange.js";
import type { LaneCall } from "./lane-call.js";
import type { CallOutcome, LaneMethod } from "./lane-method.js";
import { chooseCompression, isWorthCompressing } from "./response-compression.js";

/** The formats by the content types that are taken. The stock lane knows more spellings of them. */
export const CONNECT_FORMATS: ReadonlyMap<string | undefined, MessageFormat> = new Map([
  ["application/json", "json"],
  ["application/json; charset=utf-8", "json"],
  ["application/proto", "proto"],
]);

const HTTP_OK = 200;
const CONTENT_TYPES: Readonly<Record<MessageFormat, string>> = {
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
    this.#answer(HTTP_OK, { "content-type": CONTENT_TYPES[this.#format] }, message);
  }

  onError(error: ConnectError): void {
    try {
      const headers = { "content-type": CONTENT_TYPES.json, ...Object.fromEntries(error.metadata) };
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
