/** Wires the service together: the only module that knows all its parts. It starts nothing. */
import { randomInt } from "node:crypto";
import { type AwilixContainer, asClass, asFunction, asValue, createContainer, InjectionMode } from "awilix";
import type { Pool } from "pg";
import type { Logger } from "pino";
import { TokenStore } from "../auth/token-store.js";
import { Spool } from "../buffer/spool/spool.js";
import type { Config } from "../config.js";
import { EventIds } from "../event/event-id.js";
import { Admission } from "../ingest/admission.js";
import { BufferReplay } from "../ingest/buffer-replay.js";
import { EventQueue } from "../ingest/event-queue.js";
import { Flusher } from "../ingest/flusher.js";
import { Ledger } from "../ingest/ledger.js";
import { Readiness } from "../ingest/readiness.js";
import { EmbeddedPostgres } from "../postgres/embedded.js";
import { migrate } from "../postgres/migrate.js";
import { PartitionKeeper } from "../postgres/partition-keeper.js";
import { closePool, createPool } from "../postgres/pool.js";
import { RetentionKeeper } from "../postgres/retention-keeper.js";
import { Schema } from "../postgres/schema.js";
import { authenticate, refusesUnknown } from "../rpc/authentication.js";
import { createFastLane } from "../rpc/fast-lane/fast-lane.js";
import { BodyLimits, limitWaiting } from "../rpc/limits.js";
import { Rejections } from "../rpc/rejections.js";
import { createRoutes, createStatsMethods } from "../rpc/routes.js";
import { createRpcDispatcher } from "../rpc/stock-lane.js";
import type { UnaryInterceptor } from "../rpc/unary-method.js";
import { type AdminRoute, AdminServer, jsonAnswer } from "../server/admin-server.js";
import { connectionAddress, trustProxies } from "../server/caller-address.js";
import { connectionsWithin, openFilesLimit } from "../server/connection-limit.js";
import { allowOrigins } from "../server/cors.js";
import { Health } from "../server/health.js";
import { RpcServer } from "../server/rpc-server.js";
import { TlsCertificates } from "../server/tls-certificates.js";
import { PostgresSink } from "../sink/postgres-sink.js";
import type { Sink } from "../sink/sink.js";
import { createCallLog } from "../telemetry/calls.js";
import { Metrics } from "../telemetry/metrics.js";
import { metricsRoute } from "../telemetry/metrics-route.js";
import { StatusBoard } from "../telemetry/status-board.js";
import { statusPageRoutes } from "../telemetry/status-page.js";
import { findTracer, Tracing } from "../telemetry/tracing.js";
import { type Clock, systemClock } from "../util/clock.js";
import { migrationsDirectory, version } from "../util/package-info.js";

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
  /** Aborts what the start waits for, when the start is given up. */
  readonly starting: AbortController;
  readonly stopping: AbortController;
  /** undefined: METRICS is off. */
  readonly metrics: Metrics | undefined;
  /** undefined: no SDK of OpenTelemetry was loaded. */
  readonly tracing: Tracing | undefined;
  readonly health: Health;
  readonly statusBoard: StatusBoard;
  /** Answered at the admin port besides the probes, by path. */
  readonly adminRoutes: Readonly<Record<string, AdminRoute>>;
  /** undefined: in a worker, whose primary has the admin port. */
  readonly adminServer: AdminServer | undefined;
  readonly embeddedPostgres: EmbeddedPostgres | undefined;
  readonly databaseUrl: string;
  readonly pool: Pool;
  readonly schema: Schema;
  readonly sink: Sink;
  readonly ledger: Ledger;
  readonly rejections: Rejections;
  readonly queue: EventQueue;
  /** undefined: SPOOL_MAX_BYTES is 0. */
  readonly spool: Spool | undefined;
  readonly admission: Admission;
  readonly flusher: Flusher;
  /** undefined: there is no spool. */
  readonly replay: BufferReplay | undefined;
  readonly readiness: Readiness;
  readonly partitionKeeper: PartitionKeeper;
  /** undefined: RETENTION_DAYS is not set. */
  readonly retentionKeeper: RetentionKeeper | undefined;
  /** undefined: anyone may call. */
  readonly tokens: TokenStore | undefined;
  /** undefined: no TLS. */
  readonly tlsCertificates: TlsCertificates | undefined;
  /** Around each call of the API; the first is the outermost. */
  readonly interceptors: readonly UnaryInterceptor[];
  readonly rpcServer: RpcServer;
}

/** The background jobs. To add one, write its class and register it here; `serve` starts and ends all of them. */
const jobs = {
  flusher: asFunction(
    ({ queue, ledger, sink, spool, clock, random, logger, metrics, config }: Cradle) =>
      new Flusher({
        queue,
        ledger,
        sink,
        buffer: spool,
        clock,
        random,
        logger,
        observer: metrics?.flushes,
        options: config,
      }),
  )
    .singleton()
    .disposer((flusher) => flusher.close()),
  partitionKeeper: asClass(PartitionKeeper)
    .singleton()
    .disposer((keeper) => keeper.close()),
  retentionKeeper: asFunction(createRetentionKeeper)
    .singleton()
    .disposer((keeper) => keeper?.close()),
  replay: asFunction(createBufferReplay)
    .singleton()
    .disposer((replay) => replay?.close()),
  tlsCertificates: asFunction(createTlsCertificates)
    .singleton()
    .disposer((certificates) => certificates?.close()),
};

/** Makes the container for a configuration. `disposeInReverse` ends what was resolved from it. */
export function createServiceContainer(config: Config, logger: Logger): AwilixContainer<Cradle> {
  const container = createContainer<Cradle>({ injectionMode: InjectionMode.PROXY, strict: true });
  container.register({
    config: asValue(config),
    logger: asValue(logger),
    clock: asValue(systemClock),
    random: asValue(() => randomInt(2 ** 32) / 2 ** 32),
    starting: asFunction(() => new AbortController()).singleton(),
    stopping: asFunction(() => new AbortController()).singleton(),
    metrics: asFunction(({ config, clock }: Cradle) =>
      config.metrics ? new Metrics({ clock }) : undefined,
    ).singleton(),
    tracing: asFunction(createTracing).singleton(),
    health: asFunction(() => new Health())
      .singleton()
      .disposer((health) => health.close()),
    statusBoard: asFunction(
      ({ health, clock }: Cradle) => new StatusBoard({ version, health, clock }),
    ).singleton(),
    adminRoutes: asFunction(createAdminRoutes).singleton(),
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
    sink: asFunction(createSink).singleton(),
    ledger: asClass(Ledger).singleton(),
    rejections: asClass(Rejections).singleton(),
    queue: asFunction(({ config, clock }: Cradle) => new EventQueue(config, clock)).singleton(),
    spool: asFunction(createSpool)
      .singleton()
      .disposer((spool) => spool?.close()),
    admission: asFunction(createAdmission).singleton(),
    readiness: asFunction(
      ({ queue, spool, flusher, replay, health, clock, logger }: Cradle) =>
        new Readiness({ queue, buffer: spool, flusher, replay, health, clock, logger }),
    )
      .singleton()
      .disposer((readiness) => readiness.close()),
    tokens: asFunction(createTokenStore).singleton(),
    interceptors: asFunction(createInterceptors).singleton(),
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

function createAdminRoutes({ statusBoard, metrics }: Cradle): Readonly<Record<string, AdminRoute>> {
  return {
    ...statusPageRoutes,
    "/status": async () => jsonAnswer(await statusBoard.read()),
    ...(metrics && { "/metrics": metricsRoute(metrics.registry) }),
  };
}

function createAdminServer({ config, health, adminRoutes, logger }: Cradle): AdminServer {
  return new AdminServer({ host: config.host, port: config.adminPort, health, routes: adminRoutes, logger });
}

function createTracing({ logger }: Cradle): Tracing | undefined {
  const tracer = findTracer();
  if (tracer !== undefined) {
    logger.info("traces are on: an SDK of OpenTelemetry is loaded");
  }
  return tracer && new Tracing(tracer);
}

function createSink({ pool, schema, tracing, logger }: Cradle): Sink {
  const sink = new PostgresSink({ pool, prepare: (signal) => schema.prepare(signal), logger });
  return tracing?.sink(sink) ?? sink;
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
    migrate: (signal) => migrate({ url: databaseUrl, directory: migrationsDirectory, logger, signal }),
    createPartitions: () => partitionKeeper.keep(),
  });
}

function createSpool({ config, clock, logger }: Cradle): Spool | undefined {
  return config.spoolMaxBytes > 0
    ? new Spool({ directory: config.spoolDir, maxBytes: config.spoolMaxBytes, clock, logger })
    : undefined;
}

function createBufferReplay({
  spool,
  sink,
  ledger,
  flusher,
  clock,
  random,
  logger,
  metrics,
}: Cradle): BufferReplay | undefined {
  return (
    spool &&
    new BufferReplay({
      buffer: spool,
      sink,
      ledger,
      liveTraffic: flusher,
      clock,
      random,
      logger,
      observer: metrics?.replays,
    })
  );
}

/** What watches calls comes first, so that it sees what the others refuse, too. */
function createInterceptors({ config, metrics, tracing, tokens, logger, clock }: Cradle): UnaryInterceptor[] {
  return [
    metrics?.interceptor,
    tracing?.interceptor,
    logger.isLevelEnabled("debug") ? createCallLog({ logger, clock }) : undefined,
    tokens && authenticate(tokens),
    limitWaiting(config.maxCallsInFlight),
  ].filter((interceptor) => interceptor !== undefined);
}

function createRetentionKeeper({ config, pool, clock, logger }: Cradle): RetentionKeeper | undefined {
  const { retentionDays } = config;
  return retentionDays === undefined
    ? undefined
    : new RetentionKeeper({ pool, clock, logger, retentionDays });
}

function createAdmission({ config, clock }: Cradle): Admission {
  return new Admission({
    clock,
    ids: new EventIds({ now: () => clock.now() }),
    properties: config.properties,
    remoteIp: config.remoteIp,
  });
}

function createTokenStore({ config, clock, logger }: Cradle): TokenStore | undefined {
  const { authTokensFile: file } = config;
  return file === undefined ? undefined : new TokenStore({ file, clock, logger });
}

function createTlsCertificates({ config, clock, logger }: Cradle): TlsCertificates | undefined {
  const { tlsCertFile: certFile, tlsKeyFile: keyFile, tlsClientCaFile: clientCaFile } = config;
  return certFile === undefined || keyFile === undefined
    ? undefined
    : new TlsCertificates({ certFile, keyFile, clientCaFile, clock, logger });
}

function createRpcServer({
  config,
  admission,
  flusher,
  rejections,
  interceptors,
  health,
  stopping,
  tlsCertificates,
  tokens,
  logger,
  metrics,
  tracing,
}: Cradle): RpcServer {
  const methods = createStatsMethods({
    admission,
    flusher: tracing?.intake(flusher) ?? flusher,
    rejections,
    interceptors,
    batchMaxEvents: config.batchMaxEvents,
  });
  const limits = new BodyLimits(config);
  const refusesByHeader = tokens && refusesUnknown(tokens, methods);
  const callerAddress = config.trustProxy === undefined ? connectionAddress : trustProxies(config.trustProxy);
  const stock = createRpcDispatcher({
    routes: createRoutes({
      methods,
      health,
      hasReflection: config.reflection,
      stopping: stopping.signal,
    }),
    logger,
    onUnhandled: metrics?.countUnhandled,
    callerAddress,
    limits,
    refusesByHeader,
    maxCalls: config.maxStockCalls,
  });
  const lanes = {
    handler: stock,
    fastLane: createFastLane({ methods, stock, logger, callerAddress, limits, refusesByHeader }),
  };
  return new RpcServer({
    host: config.host,
    port: config.port,
    tls: tlsCertificates,
    ...(config.corsOrigins === undefined ? lanes : allowOrigins(config.corsOrigins, lanes)),
    limits: {
      requestTimeoutMs: config.requestTimeoutMs,
      keepAliveTimeoutMs: config.keepAliveTimeoutMs,
      maxConnections: connectionsWithin(openFilesLimit(), config.maxConnections, logger),
    },
    logger,
  });
}
