/**
 * The fast lane: takes plain unary calls past everything that only streams, compression and rarities need; what it
 * does not take goes to the stock lane, and so does what turns out not to be plain.
 */
import type { IncomingMessage, ServerResponse } from "node:http";
import type { IncomingHttpHeaders, ServerHttp2Stream } from "node:http2";
import type { Logger } from "pino";
import type { Caller } from "../../auth/token-store.js";
import { type CallerAddress, type Connection, connectionAddress } from "../../server/caller-address.js";
import type { RpcFastLane, RpcHandler } from "../../server/rpc-handler.js";
import { type Clock, systemClock } from "../../util/clock.js";
import type { RefusesByHeader } from "../authentication.js";
import { BodyLimits } from "../limits.js";
import { readConnectTimeout, readGrpcTimeout } from "../protocol-options.js";
import type { CallContext, UnaryMethod } from "../unary-method.js";
import {
  type BodyReader,
  type Exchange,
  type ExchangeDeps,
  Http1Exchange,
  Http2Exchange,
  readRequestBody,
  readStreamBody,
} from "./exchange.js";
import { LaneMethod } from "./lane-method.js";
import { CONNECT_FORMATS, ConnectUnary, GRPC_FORMATS, GrpcUnary } from "./unary-protocols.js";

export interface FastLaneDeps {
  readonly methods: readonly UnaryMethod[];
  readonly stock: RpcHandler;
  readonly logger: Logger;
  /** Default: that of the connection. */
  readonly callerAddress?: CallerAddress;
  /** Shared with the stock lane. Default: limits of its own. */
  readonly limits?: BodyLimits;
  /** Calls that are for the stock lane to refuse. Default: none. */
  readonly refusesByHeader?: RefusesByHeader | undefined;
  /** Default: the machine's. */
  readonly clock?: Clock;
}

/** Makes the fast lane for `methods`, all of which `stock` must know too. */
export function createFastLane(deps: FastLaneDeps): RpcFastLane {
  return new FastLane(deps);
}

/** A method with what its exchanges need. */
interface Route {
  readonly method: LaneMethod;
  readonly exchangeDeps: ExchangeDeps;
}

class FastLane implements RpcFastLane {
  readonly #routes: ReadonlyMap<string | undefined, Route>;
  readonly #clock: Clock;
  readonly #callerAddress: CallerAddress;
  readonly #limits: BodyLimits;
  readonly #refusesByHeader: RefusesByHeader;
  /** The last authority that was found to be part of a URL: nearly all requests have the same. */
  #knownAuthority: string | undefined;

  constructor(deps: FastLaneDeps) {
    const { methods, stock, logger } = deps;
    this.#routes = new Map(
      methods.map((each) => {
        const method = new LaneMethod(each);
        return [method.path, { method, exchangeDeps: { stock, logger, path: method.path } }];
      }),
    );
    this.#clock = deps.clock ?? systemClock;
    this.#callerAddress = deps.callerAddress ?? connectionAddress;
    this.#limits = deps.limits ?? new BodyLimits();
    this.#refusesByHeader = deps.refusesByHeader ?? (() => false);
  }

  takeRequest(request: IncomingMessage, response: ServerResponse): boolean {
    const route = request.method === "POST" ? this.#routes.get(request.url) : undefined;
    if (route === undefined) {
      return false;
    }
    const { headers } = request;
    if (!this.#isPartOfUrl(headers.host) || this.#refusesByHeader(route.method.path, headers.authorization)) {
      return false;
    }
    const exchange = new Http1Exchange(route.exchangeDeps, request, response);
    const reader = this.#connectReader(route, request.socket, headers, response, exchange);
    if (reader === undefined) {
      return false;
    }
    readRequestBody(request, reader, this.#limits, () => exchange.handBack());
    return true;
  }

  takeStream(
    stream: ServerHttp2Stream,
    headers: IncomingHttpHeaders,
    rawHeaders: readonly string[],
  ): boolean {
    const route = headers[":method"] === "POST" ? this.#routes.get(headers[":path"]) : undefined;
    if (
      route === undefined ||
      // A body is never only absent by mistake, and "expect" is for the compatibility layer to answer.
      stream.endAfterHeaders ||
      headers.expect !== undefined ||
      !this.#isPartOfUrl(headers[":authority"]) ||
      this.#refusesByHeader(route.method.path, headers.authorization)
    ) {
      return false;
    }
    const exchange = new Http2Exchange(route.exchangeDeps, stream, headers, rawHeaders);
    const reader =
      this.#connectReader(route, stream.session, headers, stream, exchange) ??
      this.#grpcReader(route, stream, headers, exchange);
    if (reader === undefined) {
      return false;
    }
    readStreamBody(stream, headers["content-length"], reader, this.#limits, (body) =>
      exchange.handBack(body),
    );
    return true;
  }

  #connectReader(
    { method }: Route,
    connection: Connection,
    headers: IncomingHttpHeaders,
    output: CallOutput,
    exchange: Exchange,
  ): BodyReader | undefined {
    const format = CONNECT_FORMATS.get(headers["content-type"]);
    const timeoutMs = readConnectTimeout(headers["connect-timeout-ms"] as string | undefined);
    if (format === undefined || timeoutMs === "malformed" || !this.#isPlainConnect(headers)) {
      return undefined;
    }
    const address = this.#callerAddress(connection, headers);
    const call = new LaneCall(address, headers, output, timeoutMs, this.#clock);
    return new ConnectUnary({
      method,
      format,
      call,
      exchange,
      acceptEncoding: headers["accept-encoding"] as string,
      requestMaxBytes: this.#limits.requestMaxBytes,
    });
  }

  #grpcReader(
    { method }: Route,
    stream: ServerHttp2Stream,
    headers: IncomingHttpHeaders,
    exchange: Http2Exchange,
  ): BodyReader | undefined {
    const format = GRPC_FORMATS.get(headers["content-type"]);
    const timeoutMs = readGrpcTimeout(headers["grpc-timeout"] as string | undefined);
    const encoding = headers["grpc-encoding"] ?? "identity";
    if (format === undefined || timeoutMs === "malformed" || encoding !== "identity") {
      return undefined;
    }
    const address = this.#callerAddress(stream.session, headers);
    const call = new LaneCall(address, headers, stream, timeoutMs, this.#clock);
    const acceptEncoding = headers["grpc-accept-encoding"] as string | undefined;
    const { requestMaxBytes } = this.#limits;
    return new GrpcUnary({ method, format, call, exchange, acceptEncoding, requestMaxBytes });
  }

  /** Whether a Connect request is not compressed and does not promise to be too large. */
  #isPlainConnect(headers: IncomingHttpHeaders): boolean {
    return (
      headers["content-encoding"] === undefined &&
      Number(headers["content-length"] ?? 0) <= this.#limits.requestMaxBytes
    );
  }

  #isPartOfUrl(authority: string | undefined): boolean {
    if (authority === undefined) {
      return false;
    }
    if (authority !== this.#knownAuthority) {
      if (!URL.canParse(`http://${authority}`)) {
        return false;
      }
      this.#knownAuthority = authority;
    }
    return true;
  }
}

/** What the answer is written to: closed before that, the caller has left. */
export type CallOutput = ServerResponse | ServerHttp2Stream;

/** A call's context. Make it when the header has come: the caller's time runs from then. */
export class LaneCall implements CallContext {
  readonly address: Uint8Array;
  caller: Caller | undefined;
  readonly arrivedAt: number;
  readonly #headers: IncomingHttpHeaders;
  readonly #output: CallOutput;
  readonly #clock: Clock;
  /** By {@link Clock.elapsed}. */
  readonly #deadlineAt: number | undefined;
  /** Set while the handler waits. */
  #onAbandoned: (() => void) | undefined;
  #cancelTimer: (() => void) | undefined;

  constructor(
    address: Uint8Array,
    headers: IncomingHttpHeaders,
    output: CallOutput,
    timeoutMs: number | undefined,
    clock: Clock,
  ) {
    this.address = address;
    this.#headers = headers;
    this.#output = output;
    this.#clock = clock;
    this.arrivedAt = clock.elapsed();
    this.#deadlineAt = timeoutMs === undefined ? undefined : this.arrivedAt + timeoutMs;
  }

  header(name: string): string | undefined {
    const value = this.#headers[name];
    return Array.isArray(value) ? value.join(", ") : value;
  }

  onAbandoned(listener: () => void): void {
    const leftMs = this.#deadlineAt === undefined ? undefined : this.#deadlineAt - this.#clock.elapsed();
    if (this.#output.destroyed || (leftMs !== undefined && leftMs <= 0)) {
      listener();
      return;
    }
    this.#onAbandoned = listener;
    // Nobody takes this listener off: an output is of one call, and closes after its answer, too.
    this.#output.on("close", () => this.#abandon());
    if (leftMs !== undefined) {
      this.#cancelTimer = this.#clock.schedule(leftMs, () => this.#abandon());
    }
  }

  /** The handler is done: it is told nothing any more. */
  end(): void {
    this.#onAbandoned = undefined;
    this.#cancelTimer?.();
  }

  #abandon(): void {
    const listener = this.#onAbandoned;
    this.end();
    listener?.();
  }
}
