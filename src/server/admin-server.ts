/** The admin port: answers operators and orchestrators over plain HTTP; it never serves the API and changes nothing. */
import { once } from "node:events";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { Logger } from "pino";
import { type Clock, systemClock } from "../util/clock.js";
import type { Probe } from "./health.js";
import { type BoundAddress, listen } from "./listen.js";
import { BROWSER_HEADERS } from "./web-files.js";

/** The health questions that the admin port passes on. */
export interface HealthProbes {
  liveness(): Probe;
  readiness(): Probe;
}

/** What a route answers. */
export interface AdminAnswer {
  readonly status: number;
  /** Default: plain text in UTF-8. */
  readonly contentType?: string;
  readonly body: string;
}

/** Answers GET and HEAD for one path; what it throws becomes a 500. */
export type AdminRoute = () => AdminAnswer | Promise<AdminAnswer>;

/** What {@link AdminServer} needs. */
export interface AdminServerOptions {
  readonly host: string;
  /** The setting that holds the host. Default: ADMIN_HOST. */
  readonly hostSetting?: string;
  /** 0 lets the system choose. */
  readonly port: number;
  readonly health: HealthProbes;
  readonly logger: Logger;
  /** More paths, for example "/metrics". */
  readonly routes?: Readonly<Record<string, AdminRoute>>;
  /** Default: the machine's. */
  readonly clock?: Clock;
}

const TEXT = "text/plain; charset=utf-8";
/** Longest time for a request to arrive, in milliseconds. */
const REQUEST_TIMEOUT_MS = 5_000;
/** How long a connection may wait for its next request, in milliseconds: longer than probes are apart. */
const KEEP_ALIVE_TIMEOUT_MS = 65_000;
/** What close() gives the requests in flight, in milliseconds. */
const CLOSE_TIMEOUT_MS = 1_000;
const MAX_HEADER_BYTES = 8_192;

/** `/healthz`, `/readyz` and what `routes` adds. `new` → `listening` → `closed`, or `new` → `closed`. */
export class AdminServer implements AsyncDisposable {
  readonly #options: AdminServerOptions;
  readonly #logger: Logger;
  readonly #clock: Clock;
  readonly #routes: ReadonlyMap<string, AdminRoute>;
  readonly #server: Server;
  #state: "new" | "listening" | "closed" = "new";
  #started: Promise<BoundAddress> | undefined;
  #stopped: Promise<void> | undefined;

  constructor(options: AdminServerOptions) {
    this.#options = options;
    this.#logger = options.logger;
    this.#clock = options.clock ?? systemClock;
    this.#routes = new Map<string, AdminRoute>([
      ["/healthz", () => probeAnswer(options.health.liveness())],
      ["/readyz", () => probeAnswer(options.health.readiness())],
      ...Object.entries(options.routes ?? {}),
    ]);
    this.#server = createServer({
      headersTimeout: REQUEST_TIMEOUT_MS,
      requestTimeout: REQUEST_TIMEOUT_MS,
      connectionsCheckingInterval: REQUEST_TIMEOUT_MS / 5,
      keepAliveTimeout: KEEP_ALIVE_TIMEOUT_MS,
      maxHeaderSize: MAX_HEADER_BYTES,
    });
    this.#server.on("request", (req, res) => {
      // A client that leaves in mid-request is an error of the request, and since Node 26 one that must be heard.
      req.on("error", (err) =>
        this.#logger.debug({ err }, "an admin client left in the middle of its request"),
      );
      void this.#answer(req, res);
    });
  }

  /**
   * Starts to accept connections; resolves with the address it got.
   *
   * @throws {ListenError} if the address cannot be had.
   */
  async listen(): Promise<BoundAddress> {
    if (this.#state !== "new" || this.#started !== undefined) {
      throw new Error(`an AdminServer listens once; it is ${this.#state}`);
    }
    const { host, port, hostSetting = "ADMIN_HOST" } = this.#options;
    this.#started = listen(this.#server, { host, port, hostSetting, portSetting: "ADMIN_PORT" });
    try {
      const bound = await this.#started;
      this.#state = "listening";
      this.#server.on("error", (err) => this.#logger.error({ err }, "could not accept an admin connection"));
      return bound;
    } catch (error) {
      this.#started = undefined;
      throw error;
    }
  }

  /** Answers what is in flight, for at most a second, and stops. Safe before listen() and more than once. */
  async close(): Promise<void> {
    this.#stopped ??= this.#stop();
    await this.#stopped;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  async #stop(): Promise<void> {
    await this.#started?.catch(() => undefined);
    if (this.#server.listening) {
      const closed = once(this.#server, "close");
      this.#server.close();
      const cancel = this.#clock.schedule(CLOSE_TIMEOUT_MS, () => this.#server.closeAllConnections());
      await closed;
      cancel();
    }
    this.#state = "closed";
  }

  async #answer(req: IncomingMessage, res: ServerResponse): Promise<void> {
    // The client may leave while a route is still at work.
    res.on("error", (err) => this.#logger.debug({ err }, "an admin client left before its answer"));
    const { status, contentType = TEXT, body } = await this.#resolve(req, res);
    if (!this.#server.listening) {
      res.shouldKeepAlive = false;
    }
    res.writeHead(status, {
      "content-type": contentType,
      "content-length": Buffer.byteLength(body),
      "cache-control": "no-store",
      ...BROWSER_HEADERS,
    });
    res.end(req.method === "HEAD" ? undefined : body);
  }

  async #resolve(req: IncomingMessage, res: ServerResponse): Promise<AdminAnswer> {
    const [path = ""] = (req.url ?? "").split("?", 1);
    const route = this.#routes.get(path);
    if (route === undefined) {
      return { status: 404, body: `Not found. There is: ${[...this.#routes.keys()].join(", ")}\n` };
    }
    if (req.method !== "GET" && req.method !== "HEAD") {
      res.setHeader("allow", "GET, HEAD");
      return { status: 405, body: "Only GET and HEAD.\n" };
    }
    try {
      return await route();
    } catch (err) {
      this.#logger.error({ err, path }, "an admin route failed");
      return { status: 500, body: "Failed; the log says why.\n" };
    }
  }
}

/** An answer in JSON. */
export function jsonAnswer(value: unknown): AdminAnswer {
  return { status: 200, contentType: "application/json", body: `${JSON.stringify(value)}\n` };
}

function probeAnswer(probe: Probe): AdminAnswer {
  return probe.ok ? { status: 200, body: "ok\n" } : { status: 503, body: `${probe.reason}\n` };
}
