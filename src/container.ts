/** Wires the service together: the only module that knows all the others. It starts nothing. */
import { randomInt } from "node:crypto";
import { type AwilixContainer, asClass, asFunction, asValue, createContainer, InjectionMode } from "awilix";
import type { Pool } from "pg";
import type { Logger } from "pino";
import { type Clock, systemClock } from "./clock.js";
import type { Config } from "./config.js";
import { Admission } from "./ingest/admission.js";
import { EventIds } from "./ingest/event-id.js";
import { EventQueue } from "./ingest/event-queue.js";
import { Flusher } from "./ingest/flusher.js";
import { Ledger } from "./ingest/ledger.js";
import { Readiness } from "./ingest/readiness.js";
import { SpoolReplay } from "./ingest/spool-replay.js";
import { migrationsDirectory } from "./package-info.js";
import { EmbeddedPostgres } from "./postgres/embedded.js";
import { migrate } from "./postgres/migrate.js";
import { PartitionKeeper } from "./postgres/partition-keeper.js";
import { closePool, createPool } from "./postgres/pool.js";
import { Schema } from "./postgres/schema.js";
import { createFastLane } from "./rpc/fast-lane/fast-lane.js";
import { createRoutes, createStatsMethods } from "./rpc/routes.js";
import { createRpcDispatcher } from "./rpc/rpc-dispatcher.js";
import type { UnaryInterceptor } from "./rpc/unary-method.js";
import { type AdminRoute, AdminServer } from "./server/admin-server.js";
import { Health } from "./server/health.js";
import { RpcServer } from "./server/rpc-server.js";
import { PostgresSink } from "./sink/postgres-sink.js";
import { Spool } from "./sink/spool.js";

/** Works beside the RPCs from start to stop. */
export interface BackgroundJob {
  start(): void;
  /** Resolves when the job has finished its work. */
  close(): Promise<void>;
}

/** All that the container can give. What a factory takes from it is made first, and so ended last. */
export interface Cradle {
  readonly config: Config;
  readonly logger: Logger;
  readonly clock: Clock;
  readonly random: () => number;
  readonly stopping: AbortController;
  readonly health: Health;
  /** Answered at the admin port besides the probes, by path. */
  readonly adminRoutes: Readonly<Record<string, AdminRoute>>;
  /** undefined: in a worker, whose primary has the admin port. */
  readonly adminServer: AdminServer | undefined;
  readonly embeddedPostgres: EmbeddedPostgres | undefined;
  readonly databaseUrl: string;
  readonly pool: Pool;
  readonly schema: Schema;
  readonly sink: PostgresSink;
  readonly ledger: Ledger;
  readonly queue: EventQueue;
  /** undefined: SPOOL_MAX_BYTES is 0. */
  readonly spool: Spool | undefined;
  readonly admission: Admission;
  readonly flusher: Flusher;
  /** undefined: there is no spool. */
  readonly spoolReplay: SpoolReplay | undefined;
  readonly readiness: Readiness;
  readonly partitionKeeper: PartitionKeeper;
  /** Around each call of the API; the first is the outermost. */
  readonly interceptors: readonly UnaryInterceptor[];
  readonly rpcServer: RpcServer;
}

/** The background jobs. To add one, write its class and register it here; `serve` starts and ends all of them. */
const jobs = {
  flusher: asFunction(
    ({ queue, ledger, sink, spool, clock, random, logger, config }: Cradle) =>
      new Flusher({ queue, ledger, sink, spool, clock, random, logger, options: config }),
  )
    .singleton()
    .disposer((flusher) => flusher.close()),
  partitionKeeper: asClass(PartitionKeeper)
    .singleton()
    .disposer((keeper) => keeper.close()),
  spoolReplay: asFunction(createSpoolReplay)
    .singleton()
    .disposer((replay) => replay?.close()),
};

/** Makes the container for a configuration. `disposeInReverse` ends what was resolved from it. */
export function createServiceContainer(config: Config, logger: Logger): AwilixContainer<Cradle> {
  const container = createContainer<Cradle>({ injectionMode: InjectionMode.PROXY, strict: true });
  container.register({
    config: asValue(config),
    logger: asValue(logger),
    clock: asValue(systemClock),
    random: asValue(() => randomInt(2 ** 32) / 2 ** 32),
    stopping: asFunction(() => new AbortController()).singleton(),
    health: asFunction(() => new Health())
      .singleton()
      .disposer((health) => health.close()),
    adminRoutes: asValue({}),
    adminServer: asFunction(createAdminServer)
      .singleton()
      .disposer((server) => server.close()),
    embeddedPostgres: asFunction(createEmbeddedPostgres)
      .singleton()
      .disposer((postgres) => postgres?.close()),
    databaseUrl: asFunction(chooseDatabaseUrl).singleton(),
    pool: asFunction(({ databaseUrl, logger }: Cradle) => createPool({ url: databaseUrl, logger }))
      .singleton()
      .disposer(closePool),
    schema: asFunction(createSchema).singleton(),
    sink: asFunction(
      ({ pool, schema }: Cradle) => new PostgresSink({ pool, prepare: () => schema.prepare() }),
    ).singleton(),
    ledger: asClass(Ledger).singleton(),
    queue: asFunction(({ config }: Cradle) => new EventQueue(config)).singleton(),
    spool: asFunction(createSpool)
      .singleton()
      .disposer((spool) => spool?.close()),
    admission: asFunction(createAdmission).singleton(),
    readiness: asFunction(
      ({ queue, spool, flusher, health, clock, logger }: Cradle) =>
        new Readiness({ queue, spool, flusher, health, clock, logger }),
    )
      .singleton()
      .disposer((readiness) => readiness.close()),
    interceptors: asValue([]),
    rpcServer: asFunction(createRpcServer)
      .singleton()
      .disposer((server) => server.drain(config.shutdownTimeoutMs)),
    ...jobs,
  });
  return container;
}

/** Makes all background jobs, without starting them, in the order of their registration. */
export function resolveJobs(container: AwilixContainer<Cradle>): BackgroundJob[] {
  return Object.keys(jobs)
    .map((name) => container.resolve<BackgroundJob | undefined>(name))
    .filter((job) => job !== undefined);
}

function createAdminServer({ config, health, adminRoutes, logger }: Cradle): AdminServer {
  return new AdminServer({ host: config.host, port: config.adminPort, health, routes: adminRoutes, logger });
}

function createEmbeddedPostgres({ config, logger }: Cradle): EmbeddedPostgres | undefined {
  return config.databaseUrl === undefined
    ? new EmbeddedPostgres({ dataDir: config.dataDir, port: config.embeddedPostgresPort, logger })
    : undefined;
}

function chooseDatabaseUrl({ config, embeddedPostgres }: Cradle): string {
  const url = config.databaseUrl ?? embeddedPostgres?.url;
  if (url === undefined) {
    throw new Error("neither a DATABASE_URL nor an embedded PostgreSQL");
  }
  return url;
}

function createSchema({ databaseUrl, partitionKeeper, logger }: Cradle): Schema {
  return new Schema({
    migrate: () => migrate({ url: databaseUrl, directory: migrationsDirectory, logger }),
    createPartitions: () => partitionKeeper.keep(),
  });
}

function createSpool({ config, clock, logger }: Cradle): Spool | undefined {
  return config.spoolMaxBytes > 0
    ? new Spool({ directory: config.spoolDir, maxBytes: config.spoolMaxBytes, clock, logger })
    : undefined;
}

function createSpoolReplay({
  spool,
  sink,
  ledger,
  flusher,
  clock,
  random,
  logger,
}: Cradle): SpoolReplay | undefined {
  return spool && new SpoolReplay({ spool, sink, ledger, liveTraffic: flusher, clock, random, logger });
}

function createAdmission({ config, clock }: Cradle): Admission {
  return new Admission({
    clock,
    ids: new EventIds({ now: () => clock.now() }),
    properties: config.properties,
  });
}

function createRpcServer({
  config,
  admission,
  flusher,
  interceptors,
  health,
  stopping,
  logger,
}: Cradle): RpcServer {
  const methods = createStatsMethods({
    admission,
    flusher,
    interceptors,
    batchMaxEvents: config.batchMaxEvents,
  });
  const stock = createRpcDispatcher({
    routes: createRoutes({ methods, health, stopping: stopping.signal }),
    logger,
  });
  return new RpcServer({
    host: config.host,
    port: config.port,
    handler: stock,
    fastLane: createFastLane({ methods, stock, logger }),
    logger,
  });
}
