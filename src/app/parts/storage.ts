/** The parts that keep events in PostgreSQL: the sink, and the upkeep of its tables. */
import type { Pool } from "pg";
import { Aggregator } from "../../counts/aggregator.js";
import { CountQueries, createQueryPool } from "../../counts/count-queries.js";
import { readProgress } from "../../counts/count-state.js";
import { CountsKeeper, countBeforeRemoval } from "../../counts/counts-keeper.js";
import { RemovedRows } from "../../counts/removed-rows.js";
import { ClockWitness } from "../../postgres/clock-witness.js";
import { PartitionKeeper } from "../../postgres/partition-keeper.js";
import { closePool, createPool, orAborted, withConnection } from "../../postgres/pool.js";
import { earlierClock, firstKeptDay } from "../../postgres/retention.js";
import { RetentionKeeper } from "../../postgres/retention-keeper.js";
import { readTableState } from "../../postgres/table-state.js";
import { PostgresSink } from "../../sink/postgres-sink.js";
import type { Sink } from "../../sink/sink.js";
import type { DatabaseReading } from "../../telemetry/service-status.js";
import type { DatabaseParts } from "./database.js";
import { job, part, type Registrations } from "./part.js";
import type { ProcessParts } from "./process.js";

export interface StorageParts {
  readonly pool: Pool;
  readonly sink: Sink;
  /** How the tables are. Rejects when the database does not say; at once when the signal aborts. */
  readonly readTables: (signal: AbortSignal) => Promise<DatabaseReading>;
  readonly clockWitness: ClockWitness;
  readonly countQueries: CountQueries;
  /** For folds and the like, which may take minutes: they must not take the connection of a flush. */
  readonly countsPool: Pool;
  /** undefined: COUNTS is off. */
  readonly aggregator: Aggregator | undefined;
  /** undefined: COUNTS is off. */
  readonly countsKeeper: CountsKeeper | undefined;
  readonly partitionKeeper: PartitionKeeper;
  /** undefined: RETENTION_DAYS is not set. */
  readonly retentionKeeper: RetentionKeeper | undefined;
}

type Needs = StorageParts & DatabaseParts & ProcessParts;

export function storageParts(): Registrations<StorageParts & Pick<DatabaseParts, "makePartitions">> {
  return {
    pool: part(({ databaseUrl, logger }: Needs) => createPool({ url: databaseUrl, logger }), closePool),
    sink: part(createSink),
    countQueries: part(createCountQueries, (queries) => queries.close()),
    readTables: part(({ pool, clock }: Needs) => async (signal: AbortSignal) => ({
      ...(await readTableState(pool, clock, signal)),
      counts: await orAborted(signal, () => readProgress(pool)),
    })),
    clockWitness: part(({ pool, clock, logger }: Needs) => new ClockWitness({ pool, clock, logger })),
    partitionKeeper: job(({ pool, clock, logger }: Needs) => new PartitionKeeper({ pool, clock, logger })),
    makePartitions: part(
      ({ partitionKeeper }: Needs) =>
        () =>
          partitionKeeper.keep(),
    ),
    retentionKeeper: job(createRetentionKeeper),
    countsPool: part(createCountsPool, closePool),
    countsKeeper: job(createCountsKeeper),
    aggregator: job(createAggregator),
  };
}

function createSink({ pool, schema, tracing, logger }: Needs): Sink {
  const sink = new PostgresSink({ pool, prepare: (signal) => schema.prepare(signal), logger });
  return tracing?.sink(sink) ?? sink;
}

function createCountQueries({ config, databaseUrl, clock, logger }: Needs): CountQueries {
  const queryPool = createQueryPool({
    url: databaseUrl,
    logger,
    timeoutMs: config.countsQueryTimeoutMs,
    maxInFlight: config.countsMaxQueries,
  });
  return new CountQueries({ queryPool, clock });
}

/** A fold, the upkeep and retention may need a connection at the same time. */
function createCountsPool({ databaseUrl, logger }: Needs): Pool {
  const settings = { max: 3, application_name: "stats-service counts" };
  return createPool({ url: databaseUrl, logger, settings });
}

function createAggregator(parts: Needs): Aggregator | undefined {
  const { config, countsPool: pool, clock, random, logger, metrics } = parts;
  const { counts, countsIntervalMs: intervalMs } = config;
  return counts
    ? new Aggregator({ pool, clock, random, logger, intervalMs, observer: metrics?.folds })
    : undefined;
}

function createCountsKeeper({ config, countsPool: pool, clock, logger }: Needs): CountsKeeper | undefined {
  const { counts, countsQuarterDays: quarterDays, countsHourDays: hourDays, retentionDays } = config;
  return counts ? new CountsKeeper({ pool, clock, logger, quarterDays, hourDays, retentionDays }) : undefined;
}

function createRetentionKeeper({
  config,
  pool,
  countsPool,
  clock,
  logger,
}: Needs): RetentionKeeper | undefined {
  const { retentionDays } = config;
  if (retentionDays === undefined) {
    return undefined;
  }
  const bringBooksUpToDate = (signal: AbortSignal) =>
    withConnection(countsPool, signal, async (client) => {
      const firstKeptMs = firstKeptDay(await earlierClock(client, clock.now()), retentionDays);
      await countBeforeRemoval(client, new Date(firstKeptMs));
    });
  return new RetentionKeeper({
    pool,
    clock,
    logger,
    retentionDays,
    books: new RemovedRows(),
    bringBooksUpToDate,
  });
}
