/** The parts that keep events: the sink in PostgreSQL with the upkeep of its tables, and the buffer in front of it. */
import type { Pool } from "pg";
import { Spool } from "../../buffer/spool/spool.js";
import { PartitionKeeper } from "../../postgres/partition-keeper.js";
import { closePool, createPool } from "../../postgres/pool.js";
import { RetentionKeeper } from "../../postgres/retention-keeper.js";
import { PostgresSink } from "../../sink/postgres-sink.js";
import type { Sink } from "../../sink/sink.js";
import type { DatabaseParts } from "./database.js";
import { job, part, type Registrations } from "./part.js";
import type { ProcessParts } from "./process.js";

export interface StorageParts {
  readonly pool: Pool;
  readonly sink: Sink;
  /** undefined: SPOOL_MAX_BYTES is 0. */
  readonly spool: Spool | undefined;
  readonly partitionKeeper: PartitionKeeper;
  /** undefined: RETENTION_DAYS is not set. */
  readonly retentionKeeper: RetentionKeeper | undefined;
}

type Needs = StorageParts & DatabaseParts & ProcessParts;

export function storageParts(): Registrations<StorageParts & Pick<DatabaseParts, "makePartitions">> {
  return {
    pool: part(({ databaseUrl, logger }: Needs) => createPool({ url: databaseUrl, logger }), closePool),
    sink: part(createSink),
    spool: part(createSpool, (spool) => spool?.close()),
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

function createSpool({ config, clock, logger }: Needs): Spool | undefined {
  return config.spoolMaxBytes > 0
    ? new Spool({ directory: config.spoolDir, maxBytes: config.spoolMaxBytes, clock, logger })
    : undefined;
}

function createRetentionKeeper({ config, pool, clock, logger }: Needs): RetentionKeeper | undefined {
  const { retentionDays } = config;
  return retentionDays === undefined
    ? undefined
    : new RetentionKeeper({ pool, clock, logger, retentionDays });
}
