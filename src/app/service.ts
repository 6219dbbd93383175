/** The service's life: starts its parts in order, and stops them in the order that loses nothing. */
import { type AwilixContainer, asValue } from "awilix";
import type { Logger } from "pino";
import { claimSpoolDir } from "../buffer/spool/spool-folders.js";
import type { Config } from "../config.js";
import { readTableState } from "../postgres/table-state.js";
import type { HealthProbes } from "../server/admin-server.js";
import { warnIfExposed } from "../server/listen.js";
import type { MetricsReading } from "../telemetry/metrics-route.js";
import type { ServiceStatus } from "../telemetry/service-status.js";
import { messageOf } from "../util/error-message.js";
import { type Cradle, createServiceContainer, resolveJobs } from "./container.js";
import { disposeInReverse } from "./disposal.js";
import { type FinalBooks, type Runnable, type ServiceAddress, StartCancelledError } from "./runnable.js";

export interface ServiceDeps {
  readonly config: Config;
  readonly logger: Logger;
  /** One of several: the admin port and the care for SPOOL_DIR as a whole are the primary's. Default: false. */
  readonly isWorker?: boolean;
}

/** A stats service in this process. start() once, then stop(); stop() is safe before and in the middle of start(). */
export class Service implements Runnable {
  readonly #config: Config;
  readonly #logger: Logger;
  readonly #isWorker: boolean;
  readonly #container: AwilixContainer<Cradle>;
  #started: Promise<ServiceAddress> | undefined;
  #stopped: Promise<FinalBooks> | undefined;

  constructor({ config, logger, isWorker = false }: ServiceDeps) {
    this.#config = config;
    this.#logger = logger;
    this.#isWorker = isWorker;
    this.#container = createServiceContainer(config, logger);
    if (isWorker) {
      this.#container.register({ adminServer: asValue(undefined) });
    }
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
    const { adminServer, health, embeddedPostgres } = this.#container.cradle;
    await this.#unlessStopping(this.#loadCredentials());
    const admin = await this.#unlessStopping(adminServer?.listen());
    await this.#unlessStopping(embeddedPostgres?.start());
    await this.#unlessStopping(this.#openSpool());

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
    const { statusBoard, ledger, queue, spool, flusher, replay, pool, clock } = this.#container.cradle;
    statusBoard.watch({
      ledger,
      queue,
      spool,
      flusher,
      replay,
      readTables: (signal) => readTableState(pool, clock.now(), signal),
    });
  }

  /** What an earlier run left is in the books before anything is written. */
  async #openSpool(): Promise<void> {
    const { spool, ledger, clock } = this.#container.cradle;
    if (!this.#isWorker) {
      const claim = await claimSpoolDir(this.#config, { clock, logger: this.#logger });
      await claim?.close();
    }
    if (spool !== undefined) {
      const { rows, setAsideRows } = await spool.open();
      ledger.recover(rows, setAsideRows);
    }
  }

  async #unlessStopping<T>(step: T): Promise<Awaited<T>> {
    const result = await step;
    if (this.#stopped !== undefined) {
      throw new StartCancelledError();
    }
    return result;
  }

  async #stop(): Promise<FinalBooks> {
    // What is being started is let through first, so that it is there to be ended; it may not wait for the database.
    this.#container.cradle.starting.abort(new StartCancelledError());
    const wasReady = await this.#started?.then(
      () => true,
      () => false,
    );
    const { readiness, health, stopping, ledger, queue, flusher, clock } = this.#container.cradle;
    // 1. Say so, while still serving, so that load balancers look elsewhere; to one that never was ready they do not look.
    //    Nothing says otherwise from here on.
    readiness.close();
    health.setNotServing("stopping");
    if (wasReady && this.#config.lameDuckMs > 0) {
      await new Promise<void>((resolve) => void clock.schedule(this.#config.lameDuckMs, resolve));
    }
    // 2. End the streams that clients hold open for their own sake; they would keep the port from closing.
    await health.close();
    stopping.abort();
    // 3. From here a push is refused, so none can come behind the drain.
    flusher.stopIntake();
    // 4. The rest in reverse order of start: the port (calls in flight are answered), the jobs (the replay of the
    //    spool ends at once, the Flusher writes what is queued, to the spool if need be), the pool they wrote to,
    //    the spool, the embedded database, the admin port.
    try {
      await disposeInReverse(this.#container);
    } catch (error) {
      this.#logger.error({ err: error }, "not everything could be stopped in order");
    }
    const missing = ledger.missing(queue.rows);
    const isBalanced = missing === 0 && queue.rows === 0;
    const books = { ...ledger.read(), queued: queue.rows, missing };
    this.#logger[isBalanced ? "info" : "error"](
      books,
      isBalanced ? "stopped" : "stopped, but events are missing",
    );
    return { ...books, isBalanced };
  }
}

/**
 * Makes the schema. A database that is out of reach is only told of: it is prepared before the first flush. Rejects at
 * once when `starting` aborts.
 */
export async function prepareDatabase({ schema, starting, logger }: Cradle): Promise<void> {
  const outOfReach = await schema.prepareIfReachable(starting.signal);
  if (outOfReach !== undefined) {
    logger.warn(
      { reason: messageOf(outOfReach) },
      "the database is out of reach; events are queued until it is back",
    );
  }
}
