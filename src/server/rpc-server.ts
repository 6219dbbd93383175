/**
 * The RPC port: one TCP listener that speaks HTTP/1.1 and HTTP/2, either in clear text or over TLS, and its orderly
 * end; it never looks into a call.
 */
import { once } from "node:events";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import {
  constants,
  createServer as createHttp2Server,
  type Http2Server,
  type IncomingHttpHeaders,
  type ServerHttp2Stream,
} from "node:http2";
import { Server as NetServer, type Socket } from "node:net";
import type { Logger } from "pino";
import { type Clock, systemClock } from "../util/clock.js";
import { DropLog } from "./connection-limit.js";
import { ProtocolSniffer, TlsAcceptor, type TlsCredentialsSource } from "./entrance.js";
import { Http1Connections } from "./http1-connections.js";
import { Http2Sessions } from "./http2-sessions.js";
import { DEFAULT_RPC_SERVER_LIMITS, type RpcServerLimits } from "./limits.js";
import { type BoundAddress, listen } from "./listen.js";
import type { RpcFastLane, RpcHandler } from "./rpc-handler.js";
import { guardHandler } from "./rpc-handler.js";

/** What {@link RpcServer} needs. */
export interface RpcServerOptions {
  readonly host: string;
  /** 0 lets the system choose. */
  readonly port: number;
  readonly handler: RpcHandler;
  /** Sees each request before the handler. Default: none, the handler gets all. */
  readonly fastLane?: RpcFastLane;
  /** With it the port speaks TLS only. Default: clear text only. */
  readonly tls?: TlsCredentialsSource | undefined;
  readonly logger: Logger;
  /** Overrides of {@link DEFAULT_RPC_SERVER_LIMITS}. */
  readonly limits?: Partial<RpcServerLimits>;
  /** Default: the machine's. HTTP/1.1's own time-outs always follow the machine's. */
  readonly clock?: Clock;
  /** Gives numbers in [0, 1). Default: the machine's. */
  readonly random?: () => number;
}

/**
 * - `new` → `starting` by listen(), `closed` by drain() or close()
 * - `starting` → `listening`, or back to `new` if the port cannot be had
 * - `listening` → `draining` by drain() or close()
 * - `draining` → `closed` when no connection is left
 */
type RpcServerState = "new" | "starting" | "listening" | "draining" | "closed";

/** A server for one port. The handler must not throw for a well-formed request; what it throws becomes a 500. */
export class RpcServer implements AsyncDisposable {
  readonly #options: RpcServerOptions;
  readonly #limits: RpcServerLimits;
  readonly #logger: Logger;
  readonly #clock: Clock;
  readonly #http1: Http1Connections;
  readonly #http2: Http2Sessions;
  readonly #drops: DropLog;
  /** Where a connection is until its protocol is known. */
  readonly #entrance: ProtocolSniffer | TlsAcceptor;
  readonly #server: Server;
  readonly #http2Server: Http2Server;
  #state: RpcServerState = "new";
  #started: Promise<BoundAddress> | undefined;
  #stopped: Promise<void> | undefined;
  #cancelSweep: () => void = () => {};

  constructor(options: RpcServerOptions) {
    this.#options = options;
    this.#limits = { ...DEFAULT_RPC_SERVER_LIMITS, ...options.limits };
    this.#logger = options.logger;
    this.#clock = options.clock ?? systemClock;
    const { random = Math.random } = options;
    this.#http1 = new Http1Connections({
      clock: this.#clock,
      lateRequestMs: this.#limits.lateRequestMs,
      lingerTimeoutMs: this.#limits.lingerTimeoutMs,
      maxConnectionAgeMs: this.#limits.maxConnectionAgeMs,
      random,
    });
    this.#http2 = new Http2Sessions({ clock: this.#clock, limits: this.#limits, random });
    const { maxConnections } = this.#limits;
    this.#drops = new DropLog({ clock: this.#clock, logger: this.#logger, maxConnections });
    this.#http2Server = this.#createHttp2Server();
    // The HTTP/1.1 server is the one that listens, because Node starts the checker behind headersTimeout and
    // requestTimeout with that event only. Its own connection listener waits behind the entrance.
    this.#server = this.#createHttp1Server();
    const http1Listeners = this.#server.listeners("connection");
    this.#server.removeAllListeners("connection");
    const entranceDeps = {
      clock: this.#clock,
      timeoutMs: this.#limits.headersTimeoutMs,
      onHttp1: (socket: Socket) => {
        this.#http1.add(socket);
        for (const listener of http1Listeners) {
          listener.call(this.#server, socket);
        }
      },
      onHttp2: (socket: Socket) => this.#startSession(socket),
    };
    this.#entrance =
      options.tls === undefined
        ? new ProtocolSniffer(entranceDeps)
        : new TlsAcceptor({ ...entranceDeps, credentials: options.tls, logger: options.logger });
    this.#server.on("connection", (socket: Socket) => this.#entrance.accept(socket));
  }

  /** Open connections whose protocol is known. */
  get connections(): { readonly http1: number; readonly http2: number } {
    return { http1: this.#http1.size, http2: this.#http2.size };
  }

  /**
   * Starts to accept connections; resolves with the address it got.
   *
   * @throws {ListenError} if the address cannot be had.
   */
  async listen(): Promise<BoundAddress> {
    if (this.#state !== "new") {
      throw new Error(`an RpcServer listens once; it is ${this.#state}`);
    }
    this.#state = "starting";
    const { host, port } = this.#options;
    this.#started = listen(this.#server, { host, port, hostSetting: "HOST", portSetting: "PORT" });
    try {
      const bound = await this.#started;
      this.#state = "listening";
      // From here on an error is a failed accept (too many open files); the listener itself goes on.
      this.#server.on("drop", () => this.#drops.add());
      this.#server.on("error", (err) => this.#logger.error({ err }, "could not accept a connection"));
      this.#scheduleSweep();
      return bound;
    } catch (error) {
      this.#state = "new";
      throw error;
    }
  }

  /**
   * Stops accepting, sends GOAWAY on each HTTP/2 session and "connection: close" with each HTTP/1.1 answer, lets
   * the calls in flight finish, and cuts what is left `deadlineMs` from now. Requests that still come on an open
   * HTTP/1.1 connection go to the handler. Resolves when no connection is left. A second call joins the first
   * and can only bring its deadline forward.
   */
  async drain(deadlineMs: number): Promise<void> {
    const cancelDeadline = this.#clock.schedule(deadlineMs, () => this.#destroyAll());
    this.#stopped ??= this.#stop();
    try {
      await this.#stopped;
    } finally {
      cancelDeadline();
    }
  }

  /** Drains within `closeTimeoutMs`. Safe before listen() and more than once. */
  async close(): Promise<void> {
    await this.drain(this.#limits.closeTimeoutMs);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  async #stop(): Promise<void> {
    if (this.#state === "starting") {
      await this.#started?.catch(() => undefined);
    }
    if (this.#state === "listening") {
      this.#state = "draining";
      const closed = once(this.#server, "close");
      // Not http.Server's own close(): that ends the checker behind the time-outs, which a client that is in the
      // middle of a request must still meet, and cuts answers that are not flushed yet.
      NetServer.prototype.close.call(this.#server);
      this.#entrance.close();
      this.#http1.drain();
      this.#http2.drain();
      await closed;
      this.#cancelSweep();
      this.#server.close();
    }
    this.#state = "closed";
  }

  #destroyAll(): void {
    this.#entrance.close();
    this.#http1.destroyAll();
    this.#http2.destroyAll();
  }

  #scheduleSweep(): void {
    this.#cancelSweep = this.#clock.schedule(this.#limits.sweepIntervalMs, () => {
      this.#entrance.sweep();
      this.#http1.sweep();
      this.#http2.sweep();
      this.#drops.sweep();
      this.#scheduleSweep();
    });
  }

  #createHttp1Server(): Server {
    const limits = this.#limits;
    const { fastLane, handler } = this.#options;
    const answer = guardHandler((req: IncomingMessage, res: ServerResponse) => {
      if (fastLane?.takeRequest(req, res) !== true) {
        handler(req, res);
      }
    }, this.#logger);
    const server = createServer({
      headersTimeout: limits.headersTimeoutMs,
      requestTimeout: limits.requestTimeoutMs,
      keepAliveTimeout: limits.keepAliveTimeoutMs,
      connectionsCheckingInterval: limits.sweepIntervalMs,
      maxHeaderSize: limits.maxHeaderBytes,
      // Otherwise the first of two counts, and before a proxy that takes the last the two requests differ. No Host is
      // like two joined (RFC 9112, section 3.2), nor is a token.
      joinDuplicateHeaders: true,
      // Looked at below: what Node answers by itself the connections do not know of.
      requireHostHeader: false,
      noDelay: true,
      keepAlive: true,
      keepAliveInitialDelay: limits.tcpKeepAliveMs,
    });
    server.on("request", (req, res) => {
      // A client that leaves in mid-request is an error of the request, and since Node 26 one that must be heard.
      req.on("error", ignore);
      if (!this.#http1.begin(req.socket, res)) {
        return;
      }
      if (req.rawHeaders.length > 2 * limits.maxHeaderFields) {
        // What Node left out may be the proxy's word on the caller.
        refuse(res, HTTP_HEADER_TOO_LARGE);
      } else if (req.headers.host === undefined && req.httpVersion === "1.1") {
        refuse(res, HTTP_BAD_REQUEST);
      } else {
        answer(req, res);
      }
    });
    // One more than is allowed: Node says nothing when it leaves out what is beyond this.
    server.maxHeadersCount = limits.maxHeaderFields + 1;
    server.maxConnections = limits.maxConnections;
    server.on("clientError", (err, socket) => this.#http1.refuse(socket as Socket, err));
    // Without a listener Node cuts the connection, with the answers to what came before.
    server.on("connect", (_req, socket) =>
      this.#http1.refuseBehindAnswers(socket as Socket, HTTP_METHOD_NOT_ALLOWED),
    );
    // A client that has ended its half still reads its answers.
    Object.assign(server, { httpAllowHalfOpen: true });
    return server;
  }

  #createHttp2Server(): Http2Server {
    const limits = this.#limits;
    const server = createHttp2Server({
      settings: {
        maxConcurrentStreams: limits.maxConcurrentStreams,
        initialWindowSize: limits.streamWindowBytes,
        maxHeaderListSize: limits.maxHeaderBytes,
      },
      maxHeaderListPairs: limits.maxHeaderFields,
      maxSettings: limits.maxSettingsEntries,
      maxSessionInvalidFrames: limits.maxInvalidFrames,
      maxSessionRejectedStreams: limits.maxRejectedStreams,
      maxSessionMemory: limits.sessionMemoryBytes / BYTES_PER_MEGABYTE,
    });
    server.on("request", guardHandler(this.#options.handler, this.#logger));
    putInFront(server, this.#options.fastLane, this.#logger);
    server.on("sessionError", (err) => this.#logger.debug({ err }, "an HTTP/2 session failed"));
    return server;
  }

  #startSession(socket: Socket): void {
    // The HTTP/1.1 server accepts connections half-open; a client that ends an HTTP/2 connection is done with it.
    socket.allowHalfOpen = false;
    this.#http2Server.once("session", (session) => this.#http2.add(session, socket));
    this.#http2Server.emit("connection", socket);
  }
}

function ignore(): void {}

/** Answers a request that is not taken, as the last one on its connection. */
function refuse(res: ServerResponse, status: number): void {
  res.shouldKeepAlive = false;
  res.writeHead(status).end();
}

const HTTP_BAD_REQUEST = 400;
const HTTP_HEADER_TOO_LARGE = 431;
const HTTP_METHOD_NOT_ALLOWED = 405;

/** Node's HTTP/2 counts memory in these. */
const BYTES_PER_MEGABYTE = 1_000_000;

/** As Node calls it; its declared type lacks the last parameter. */
type StreamListener = (
  stream: ServerHttp2Stream,
  headers: IncomingHttpHeaders,
  flags: number,
  rawHeaders: readonly string[],
) => void;

/**
 * Joins the values of a header that came more than once, as over HTTP/1.1. Node takes the first of those that must be
 * single, and a proxy in front may have judged the last: joined, the two are none that anybody accepts.
 */
function joinRepeated(headers: IncomingHttpHeaders, rawHeaders: readonly string[]): void {
  // Each name has one key, so nearly all requests are done with here.
  if (rawHeaders.length === 2 * Object.keys(headers).length) {
    return;
  }
  const values = new Map<string, string[]>();
  for (let i = 0; i < rawHeaders.length; i += 2) {
    const name = rawHeaders[i]?.toLowerCase() ?? "";
    values.set(name, [...(values.get(name) ?? []), rawHeaders[i + 1] ?? ""]);
  }
  for (const [name, all] of values) {
    if (all.length > 1 && name !== "cookie" && typeof headers[name] === "string") {
      headers[name] = all.join(", ");
    }
  }
}

/** Lets the lane, if there is one, see each stream before Node makes a request and a response for the handler out of it. */
function putInFront(server: Http2Server, lane: RpcFastLane | undefined, logger: Logger): void {
  // Node's compatibility layer is a listener that came with the first "request" listener.
  const compatibility = server.listeners("stream");
  server.removeAllListeners("stream");
  const onStream: StreamListener = (stream, headers, flags, rawHeaders) => {
    // We have refused it, or the client has reset it in the same breath; Node's layer throws on some of those.
    if (stream.closed || stream.destroyed) {
      return;
    }
    joinRepeated(headers, rawHeaders);
    try {
      if (lane?.takeStream(stream, headers, rawHeaders) !== true) {
        for (const listener of compatibility) {
          listener.call(server, stream, headers, flags, rawHeaders);
        }
      }
    } catch (err) {
      logger.error({ err }, "a stream could not be begun");
      stream.close(constants.NGHTTP2_INTERNAL_ERROR);
    }
  };
  server.on("stream", onStream);
}
