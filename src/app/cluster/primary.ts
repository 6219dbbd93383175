/**
 * The primary process: what the workers have in common (the database, SPOOL_DIR, the admin port) and the workers
 * themselves; it takes no events.
 */
import { type AwilixContainer, asValue } from "awilix";
import type { Logger } from "pino";
import { claimSpoolDir, type SpoolDirClaim } from "../../buffer/spool/spool-folders.js";
import type { Config } from "../../config.js";
import { jsonAnswer } from "../../server/admin-server.js";
import type { Probe } from "../../server/health.js";
import type { BoundAddress } from "../../server/listen.js";
import { warnIfExposed } from "../../server/listen.js";
import { clusterMetricsRoute, type MetricsReading } from "../../telemetry/metrics-route.js";
import { mergeStatuses, type ServiceStatus } from "../../telemetry/service-status.js";
import { statusPageRoutes } from "../../telemetry/status-page.js";
import { createPrimaryContainer, type PrimaryCradle } from "../container.js";
import { disposeInReverse, ifMade } from "../lifecycle.js";
import {
  type FinalBooks,
  type Runnable,
  type ServiceAddress,
  StartCancelledError,
  sumBooks,
} from "../runnable.js";
import { isToldAlready, prepareDatabase } from "../service.js";
import { WorkerKeeper, type WorkerRecord } from "./worker-keeper.js";
import type { ForkWorker } from "./worker-process.js";

export interface PrimaryDeps {
  readonly config: Config;
  readonly logger: Logger;
  readonly fork: ForkWorker;
}

const LOOK_MS = 1_000;

/** A stats service in `WORKERS` processes and this one. start() once, then stop(), as with a Service. */
export class Primary implements Runnable {
  readonly #config: Config;
  readonly #logger: Logger;
  readonly #fork: ForkWorker;
  readonly #container: AwilixContainer<PrimaryCradle>;
  #keepers: readonly WorkerKeeper[] = [];
  #spoolDir: SpoolDirClaim | undefined;
  #cancelLook: () => void = () => {};
  #started: Promise<ServiceAddress> | undefined;
  #stopped: Promise<FinalBooks> | undefined;

  constructor({ config, logger, fork }: PrimaryDeps) {
    this.#config = config;
    this.#logger = logger;
    this.#fork = fork;
    this.#container = createPrimaryContainer(config, logger);
    this.#container.register({
      adminRoutes: asValue({
        ...statusPageRoutes,
        "/status": async () => jsonAnswer(await this.status()),
        ...(config.metrics && {
          "/metrics": clusterMetricsRoute({
            readWorkers: () => this.#readMetrics(),
            readiness: () => this.#container.cradle.health.readiness(),
          }),
        }),
      }),
    });
    // What it says of the time that the service is up counts from its making.
    this.#container.resolve("statusBoard");
  }

  /** Resolves when all workers take events. When it rejects, call stop() to end what was started by then. */
  start(): Promise<ServiceAddress> {
    this.#started ??= this.#start();
    return this.#started;
  }

  /** Lets all workers drain, then ends what they wrote to. Never rejects; safe at any time and more than once. */
  stop(): Promise<FinalBooks> {
    this.#stopped ??= this.#stop();
    return this.#stopped;
  }

  /** How all workers are together, as far as they say. Never rejects. */
  async status(): Promise<ServiceStatus> {
    const { statusBoard, health } = this.#container.cradle;
    const own = await statusBoard.read();
    const answers = await Promise.all(this.#keepers.map((keeper) => keeper.status()));
    const statuses = answers.filter((status) => status !== undefined);
    return {
      ...(statuses.length === 0 ? { ...own, processes: 0 } : mergeStatuses(statuses)),
      uptimeMs: own.uptimeMs,
      liveness: health.liveness(),
      readiness: this.#readiness(),
    };
  }

  async #readMetrics(): Promise<MetricsReading[]> {
    const readings = await Promise.all(this.#keepers.map((keeper) => keeper.metrics()));
    return readings.flat();
  }

  /** Passes a signal on to all workers. */
  signalWorkers(signal: NodeJS.Signals): void {
    for (const keeper of this.#keepers) {
      keeper.signal(signal);
    }
  }

  /** What is resolved here from the container ends in reverse order. */
  async #start(): Promise<ServiceAddress> {
    const { adminServer, embeddedPostgres } = this.#container.cradle;
    warnIfExposed(this.#config, this.#logger);
    const admin = await this.#unlessStopping(adminServer?.listen());
    await this.#unlessStopping(embeddedPostgres?.start());
    await this.#unlessStopping(this.#claimSpoolDir());
    await this.#unlessStopping(prepareDatabase(this.#container.cradle));
    const { host, port } = await this.#unlessStopping(this.#startWorkers());
    this.#look();
    return { host, port, adminPort: admin?.port };
  }

  /** Held while the workers run: no other service, with however many workers, gets hold of a folder in it. */
  async #claimSpoolDir(): Promise<void> {
    const { clock } = this.#container.cradle;
    const spoolMaxBytes = this.#config.bufferUrl === undefined ? this.#config.spoolMaxBytes : 0;
    const settings = { ...this.#config, spoolMaxBytes };
    this.#spoolDir = await claimSpoolDir(settings, { clock, logger: this.#logger });
  }

  async #startWorkers(): Promise<BoundAddress> {
    const { databaseUrl, clock, random, health } = this.#container.cradle;
    const { workers } = this.#config;
    this.#keepers = Array.from({ length: workers }, (_, i) => {
      const assignment = { worker: i + 1, workers, databaseUrl };
      const keeper = new WorkerKeeper({ assignment, fork: this.#fork, clock, random, logger: this.#logger });
      health.addLivenessCheck(`worker ${i + 1}`, () => keeper.fault());
      return keeper;
    });
    const [first] = await Promise.all(this.#keepers.map((keeper) => keeper.start()));
    return first as BoundAddress;
  }

  /** Ready while one worker is: the port is shared, and the others' connections come to those that are there. */
  #look(): void {
    const { health, clock } = this.#container.cradle;
    const unready = this.#unready();
    if (unready.length < this.#keepers.length) {
      health.setServing();
    } else {
      health.setNotServing(unready.join("; "));
    }
    this.#cancelLook = clock.schedule(LOOK_MS, () => this.#look());
  }

  /** What `/readyz` says and, when it says ok, which workers take no events all the same. */
  #readiness(): Probe {
    const readiness = this.#container.cradle.health.readiness();
    const unready = this.#unready();
    return readiness.ok && unready.length > 0 ? { ok: true, reason: unready.join("; ") } : readiness;
  }

  /** A line for each worker that takes no events. */
  #unready(): string[] {
    return this.#keepers.flatMap((keeper, i) => {
      const reason = keeper.notReadyReason();
      return reason === undefined ? [] : [`worker ${i + 1}: ${reason}`];
    });
  }

  async #unlessStopping<T>(step: T): Promise<Awaited<T>> {
    const [outcome] = await Promise.allSettled([step]);
    // First of all: that workers which are told to stop do not start is no failure.
    if (this.#stopped !== undefined) {
      throw new StartCancelledError();
    }
    if (outcome.status === "rejected") {
      throw outcome.reason;
    }
    return outcome.value;
  }

  #stopWorkers(): Promise<WorkerRecord[]> {
    return Promise.all(this.#keepers.map((keeper) => keeper.stop()));
  }

  async #stop(): Promise<FinalBooks> {
    this.#cancelLook();
    ifMade(this.#container, "health")?.setNotServing("stopping");
    // 1. The workers, each in the order of a Service. First those that are being started: start() waits for them; then
    //    those, if any, that it had come to fork in the same moment.
    await this.#stopWorkers();
    this.#container.cradle.starting.abort(new StartCancelledError());
    const startFault = await this.#started?.then(
      () => undefined,
      (fault: unknown) => fault,
    );
    const records = await this.#stopWorkers();
    // 2. What they needed until now: SPOOL_DIR, the embedded database, the admin port.
    try {
      await this.#spoolDir?.close();
      await disposeInReverse(this.#container);
    } catch (error) {
      this.#logger.error({ err: error }, "not everything could be stopped in order");
    }
    const { isBalanced, ...sum } = sumBooks(records.flatMap(({ books }) => books));
    const unsound = records.flatMap(({ isSound }, i) => (isSound ? [] : [i + 1]));
    const isSound = isBalanced && unsound.length === 0;
    if (isSound && isToldAlready(startFault, sum)) {
      return { ...sum, isBalanced };
    }
    this.#logger[isSound ? "info" : "error"](
      { ...sum, workers: records.length, ...(unsound.length > 0 && { unsound }) },
      isSound
        ? "stopped"
        : "stopped, but a worker died, or did not end well: events that it held may be missing",
    );
    return { ...sum, isBalanced: isSound };
  }
}
