/**
 * What the Flusher costs over PostgreSQL's own bulk load: drains 1,000,000 queued events into `incoming`, and
 * loads the same rows into the same table by psql's \copy (binary), by turns; prints the ratio of the medians.
 */
import { createWriteStream } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { cpus, tmpdir } from "node:os";
import { join } from "node:path";
import { finished } from "node:stream/promises";
import type { Pool } from "pg";
import { pino } from "pino";
import { systemClock } from "../src/clock.js";
import type { AdmittedEvent } from "../src/ingest/batch.js";
import { EventIds } from "../src/ingest/event-id.js";
import { EventQueue } from "../src/ingest/event-queue.js";
import { Flusher } from "../src/ingest/flusher.js";
import { Ledger } from "../src/ingest/ledger.js";
import { COPY_HEADER, COPY_TRAILER, TUPLE_MAX_BYTES, writeTuple } from "../src/postgres/incoming-codec.js";
import { encodeInet } from "../src/postgres/inet.js";
import { PostgresSink } from "../src/sink/postgres-sink.js";
import { openBenchDatabase, runPsql } from "./support/database.js";
import { median } from "./support/statistics.js";

const ROWS = Number(process.env.BENCH_ROWS ?? 1_000_000);
const ROUNDS = Number(process.env.BENCH_ROUNDS ?? 7);
const FLUSH_MAX_ROWS = 10_000;

const logger = pino({ level: "warn" }, pino.destination(2));

/** The same events each time: only the ids are made anew. */
function* events(): Generator<AdmittedEvent> {
  const ids = new EventIds({ now: systemClock.now });
  const inet = encodeInet("127.0.0.1");
  const id = new Uint8Array(16);
  for (let i = 0; i < ROWS; i++) {
    ids.next(id);
    yield { id, property: "news", section: 1 + (i % 100), itemId: 1 + i, inet };
  }
}

async function emptyTable(pool: Pool): Promise<void> {
  await pool.query("TRUNCATE incoming");
  await pool.query("CHECKPOINT");
}

async function verifyRows(pool: Pool): Promise<void> {
  const { rows } = await pool.query<{ count: string }>("SELECT count(*) FROM incoming");
  if (Number(rows[0]?.count) !== ROWS) {
    throw new Error(`void: ${rows[0]?.count} rows in the table, not ${ROWS}`);
  }
}

/** Milliseconds from the start of the Flusher until it is drained; the queue is full before. */
async function timeFlusher(pool: Pool): Promise<number> {
  const queue = new EventQueue({ queueMaxBytes: ROWS * TUPLE_MAX_BYTES, flushMaxRows: FLUSH_MAX_ROWS });
  for (const event of events()) {
    queue.append(event);
  }
  const flusher = new Flusher({
    queue,
    ledger: new Ledger(),
    sink: new PostgresSink({ pool, prepare: () => Promise.resolve() }),
    spool: undefined,
    clock: systemClock,
    random: Math.random,
    logger,
    options: { flushIntervalMs: 1000, shutdownTimeoutMs: 600_000 },
  });
  const startedAt = performance.now();
  flusher.start();
  await flusher.close();
  return performance.now() - startedAt;
}

async function writeCopyFile(path: string): Promise<void> {
  const file = createWriteStream(path);
  file.write(COPY_HEADER);
  const tuple = Buffer.alloc(TUPLE_MAX_BYTES);
  let block: Buffer[] = [];
  for (const { id, property, section, itemId, inet } of events()) {
    block.push(Buffer.from(tuple.subarray(0, writeTuple(tuple, 0, id, property, section, itemId, inet))));
    if (block.length === FLUSH_MAX_ROWS) {
      file.write(Buffer.concat(block));
      block = [];
    }
  }
  file.end(Buffer.concat([...block, COPY_TRAILER]));
  await finished(file);
}

async function timePsql(url: string, path: string): Promise<number> {
  const startedAt = performance.now();
  await runPsql(url, `\\copy incoming FROM '${path}' (FORMAT binary)`);
  return performance.now() - startedAt;
}

async function main(): Promise<void> {
  const directory = await mkdtemp(join(tmpdir(), "stats-bench-copy-"));
  const database = await openBenchDatabase(logger);
  const flusherMs: number[] = [];
  const psqlMs: number[] = [];
  try {
    const path = join(directory, "incoming.copy");
    await writeCopyFile(path);
    for (let round = 0; round < ROUNDS; round++) {
      await emptyTable(database.pool);
      flusherMs.push(await timeFlusher(database.pool));
      await verifyRows(database.pool);
      await emptyTable(database.pool);
      psqlMs.push(await timePsql(database.url, path));
      await verifyRows(database.pool);
      console.log(
        `round ${round + 1}: flusher ${flusherMs.at(-1)?.toFixed(0)} ms, psql ${psqlMs.at(-1)?.toFixed(0)} ms`,
      );
    }
  } finally {
    await database.close();
    await rm(directory, { recursive: true, force: true });
  }
  const perSecond = (ms: number) => Math.round(ROWS / (ms / 1000)).toLocaleString("en-US");
  console.log(
    `\n${ROWS.toLocaleString("en-US")} rows, ${ROUNDS} rounds by turns, medians; ${database.version}`,
  );
  console.log(`Node ${process.version}, ${cpus().length} cores (${cpus()[0]?.model})`);
  console.log(`flusher      ${perSecond(median(flusherMs))} rows/s`);
  console.log(`psql \\copy   ${perSecond(median(psqlMs))} rows/s`);
  console.log(`ratio        ${(median(psqlMs) / median(flusherMs)).toFixed(2)}`);
}

await main();
