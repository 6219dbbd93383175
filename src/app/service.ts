/** The service's life: starts its parts in order, and stops them in the order that loses nothing. */
import type { AwilixContainer } from "awilix";
import type { Logger } from "pino";
import { claimSpoolDir } from "../buffer/spool/spool-folders.js";
import type { Config } from "../config.js";
import type { Ledger } from "../ingest/ledger.js";
import type { HealthProbes } from "../server/admin-server.js";
import { warnIfExposed } from "../server/listen.js";
import type { MetricsReading } from "../telemetry/metrics-route.js";
import type { ServiceStatus } from "../telemetry/service-status.js";
import { messageOf } from "../util/error-message.js";
import { disposeInReverse, ifMade, resolveJobs } from "./lifecycle.js";
import {
  type FinalBooks,
  NO_BOOKS,
  type Runnable,
  type ServiceAddress,
  StartCancelledError,
} from "./runnable.js";
import type { ServiceCradle } from "./service-cradle.js";

export interface ServiceDeps {
  readonly config: Config;
  readonly logger: Logger;
  /** The parts of its role. */
  readonly container: AwilixContainer<ServiceCradle>;
  /** One of several: the admin port and the care for SPOOL_DIR as a whole are the primary's. Default: false. */
  readonly isWorker?: boolean;
}

/** A stats service in this process. start() once, then stop(); stop() is safe before and in the middle of start(). */
export class Service implements Runnable {
  readonly #config: Config;
  readonly #logger: Logger;
  readonly #isWorker: boolean;
  readonly #container: AwilixContainer<ServiceCradle>;
  #started: Promise<ServiceAddress> | undefined;
  #stopped: Promise<FinalBooks> | undefined;

  constructor({ config, logger, container, isWorker = false }: ServiceDeps) {
    this.#config = config;
    this.#logger = logger;
    this.#isWorker = isWorker;
    this.#container = container;
  }

  /** What the admin port tells. To be asked for before start(). */
  get health(): HealthProbes {
    return this.#container.cradle.health;
  }

  /** How things are now. Never rejects. */
  status(): Promise<ServiceStatus> {
    return this.#container.cradle.statusBoard.read();
  }

  /** What is measured, for a primary to add up; empty without METRICS. Never rejects. */
  async metrics(): Promise<MetricsReading> {
    return (await this.#container.cradle.metrics?.registry.getMetricsAsJSON()) ?? [];
  }

  /** Resolves when the service takes events. When it rejects, call stop() to end what was started by then. */
  start(): Promise<ServiceAddress> {
    this.#started ??= this.#start();
    return this.#started;
  }

  /**
   * Stops in order and resolves with the books as they were closed. Never rejects; safe at any time and more than
   * once.
   */
  stop(): Promise<FinalBooks> {
    this.#stopped ??= this.#stop();
    return this.#stopped;
  }

  /**
   * Reads the tokens and certificates again. What cannot be used changes nothing, and is logged. Never rejects, and
   * interrupts no call.
   */
  async reload(): Promise<void> {
    if (this.#stopped !== undefined) {
      return;
    }
    const { tokens, tlsCertificates } = this.#container.cradle;
    if (tokens === undefined && tlsCertificates === undefined) {
      this.#logger.info("nothing to reload: neither AUTH_TOKENS_FILE nor TLS_CERT_FILE is set");
    }
    await Promise.all([tokens?.reload(), tlsCertificates?.reload()]);
  }

  /** The order in which parts are resolved here is that of start; its reverse is that of stop. */
  async #start(): Promise<ServiceAddress> {
    await this.#unlessStopping(undefined);
    const { adminServer, health, embeddedPostgres } = this.#container.cradle;
    await this.#unlessStopping(this.#loadCredentials());
    const admin = await this.#unlessStopping(adminServer?.listen());
    await this.#unlessStopping(embeddedPostgres?.start());
    await this.#unlessStopping(this.#openBuffer());

    await this.#unlessStopping(prepareDatabase(this.#container.cradle));
    for (const job of resolveJobs(this.#container)) {
      job.start();
    }
    const { flusher, replay, readiness, rpcServer } = this.#container.cradle;
    this.#showStatus();
    // Only now: what the metrics read must not be made before its turn.
    this.#container.cradle.metrics?.watch(this.#container.cradle);
    health.addLivenessCheck("flusher", () => flusher.fault());
    health.addLivenessCheck("replay", () => replay?.fault());
    const rpc = await this.#unlessStopping(rpcServer.listen());
    this.#showCountsPage(rpc.port);
    readiness.start();
    return { host: rpc.host, port: rpc.port, adminPort: admin?.port };
  }

  /** First of all: they cost nothing to read, and there is no service with bad ones. */
  async #loadCredentials(): Promise<void> {
    const { tokens, tlsCertificates } = this.#container.cradle;
    await tokens?.load();
    await tlsCertificates?.load();
    if (!this.#isWorker) {
      warnIfExposed(this.#config, this.#logger);
    }
  }

  /** All parts that the status is read from are there by now. */
  #showStatus(): void {
    const { statusBoard, ledger, queue, buffer, flusher, replay } = this.#container.cradle;
    const { rejections, refusedCalls, readTables } = this.#container.cradle;
    statusBoard.watch({ ledger, queue, buffer, flusher, replay, rejections, refusedCalls, readTables });
  }

  #showCountsPage(port: number): void {
    const { statusBoard, tlsCertificates } = this.#container.cradle;
    if (this.#config.countsPage) {
      statusBoard.showCountsPage({ port, isTls: tlsCertificates !== undefined });
    }
  }

  /** What an earlier run left is in the books before anything is written. */
  async #openBuffer(): Promise<void> {
    const { buffer, sharedBuffer, clock } = this.#container.cradle;
    if (!this.#isWorker && this.#config.role === "all") {
      // With a shared buffer nothing opens the spool: what is in it is only told of.
      const spoolMaxBytes = sharedBuffer === undefined ? this.#config.spoolMaxBytes : 0;
      const settings = { ...this.#config, spoolMaxBytes };
      const claim = await claimSpoolDir(settings, { clock, logger: this.#logger });
      await claim?.close();
    }
    if (buffer !== undefined) {
      const { rows, setAsideRows } = await buffer.open();
      this.#container.cradle.ledger.recover(rows, setAsideRows);
    }
    // Made before what fills the books, so that it ends after that, and leaves the last of them.
    const { processRecords } = this.#container.cradle;
    processRecords?.start();
    sharedBuffer?.onWritable(() => {
      processRecords?.resume();
      ifMade(this.#container, "flusher")?.retry();
    });
  }

  async #unlessStopping<T>(step: T): Promise<Awaited<T>> {
    const result = await step;
    if (this.#stopped !== undefined) {
      throw new StartCancelledError();
    }
    return result;
  }

  /** What was not made by now is not made here. */
  async #stop(): Promise<FinalBooks> {
    const { starting, stopping, clock } = this.#container.cradle;
    // What is being started is let through first, so that it is there to be ended; it may not wait for the database.
    starting.abort(new StartCancelledError());
    const startFault = await this.#started?.then(
      () => undefined,
      (fault: unknown) => fault,
    );
    const wasReady = this.#started !== undefined && startFault === undefined;
    const health = ifMade(this.#container, "health");
    // 1. Say so, while still serving, so that load balancers look elsewhere; to one that never was ready they do not look.
    //    Nothing says otherwise from here on.
    ifMade(this.#container, "readiness")?.close();
    health?.setNotServing("stopping");
    if (wasReady && this.#config.lameDuckMs > 0) {
      await new Promise<void>((resolve) => void clock.schedule(this.#config.lameDuckMs, resolve));
    }
    // 2. End the streams that clients hold open for their own sake; they would keep the port from closing.
    await health?.close();
    stopping.abort();
    // 3. From here a push is refused, so none can come behind the drain.
    ifMade(this.#container, "flusher")?.stopIntake();
    const ledger = ifMade(this.#container, "ledger");
    const queue = ifMade(this.#container, "queue");
    // 4. The rest in reverse order of start: the port (calls in flight are answered), the jobs (the replay of the
    //    buffer ends at once, the Flusher writes what is queued, to the buffer if need be), the pool they wrote to,
    //    the buffer, the embedded database, the admin port.
    try {
      await disposeInReverse(this.#container);
    } catch (error) {
      this.#logger.error({ err: error }, "not everything could be stopped in order");
    }
    return this.#closeBooks(ledger, queue?.rows ?? 0, startFault);
  }

  #closeBooks(ledger: Ledger | undefined, queued: number, startFault: unknown): FinalBooks {
    const missing = ledger?.missing(queued) ?? 0;
    const isBalanced = missing === 0 && queued === 0;
    const books = { ...NO_BOOKS, ...ledger?.read(), queued, missing, isBalanced };
    const { isBalanced: _, ...counts } = books;
    if (!isToldAlready(startFault, counts)) {
      this.#logger[isBalanced ? "info" : "error"](
        counts,
        isBalanced ? "stopped" : "stopped, but events are missing",
      );
    }
    return books;
  }
}

/**
 * Makes the schema. A database that is out of reach is only told of: it is prepared before the first flush. Rejects at
 * once when `starting` aborts.
 */
export async function prepareDatabase({
  schema,
  starting,
  logger,
}: Pick<ServiceCradle, "schema" | "starting" | "logger">): Promise<void> {
  const outOfReach = await schema?.prepareIfReachable(starting.signal);
  if (outOfReach !== undefined) {
    logger.warn(
      { reason: messageOf(outOfReach) },
      "the database is out of reach; events are queued until it is back",
    );
  }
}

/** That nothing happened needs no line after the one that says why the service could not start. */
export function isToldAlready(startFault: unknown, counts: Readonly<Record<string, number>>): boolean {
  const hasFailed = startFault !== undefined && !(startFault instanceof StartCancelledError);
  return hasFailed && Object.values(counts).every((count) => count === 0);
}
