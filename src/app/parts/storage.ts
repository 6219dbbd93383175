/** The parts that keep events in PostgreSQL: the sink, and the upkeep of its tables. */
import type { Pool } from "pg";
import { CountQueries, createQueryPool } from "../../counts/count-queries.js";
import { PartitionKeeper } from "../../postgres/partition-keeper.js";
import { closePool, createPool } from "../../postgres/pool.js";
import { RetentionKeeper } from "../../postgres/retention-keeper.js";
import { readTableState, type TableState } from "../../postgres/table-state.js";
import { PostgresSink } from "../../sink/postgres-sink.js";
import type { Sink } from "../../sink/sink.js";
import type { DatabaseParts } from "./database.js";
import { job, part, type Registrations } from "./part.js";
import type { ProcessParts } from "./process.js";

export interface StorageParts {
  readonly pool: Pool;
  readonly sink: Sink;
  /** How the tables are. Rejects when the database does not say; at once when the signal aborts. */
  readonly readTables: (signal: AbortSignal) => Promise<TableState>;
  readonly countQueries: CountQueries;
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
    readTables: part(
      ({ pool, clock }: Needs) =>
        (signal: AbortSignal) =>
          readTableState(pool, clock.now(), signal),
    ),
    partitionKeeper: job(({ pool, clock, logger }: Needs) => new PartitionKeeper({ pool, clock, logger })),
    makePartitions: part(
      ({ partitionKeeper }: Needs) =>
        () =>
          partitionKeeper.keep(),
    ),
    retentionKeeper: job(createRetentionKeeper),
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

function createRetentionKeeper({ config, pool, clock, logger }: Needs): RetentionKeeper | undefined {
  const { retentionDays } = config;
  return retentionDays === undefined
    ? undefined
    : new RetentionKeeper({ pool, clock, logger, retentionDays });
}
