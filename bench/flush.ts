/**
 * What the Flusher costs over PostgreSQL's own bulk load: drains 1,000,000 queued events into `incoming`, and
 * loads the same rows into the same table by psql's \copy (binary), by turns; prints the ratio of the medians.
 */
import { mkdtemp, rm } from "node:fs/promises";
import { cpus, tmpdir } from "node:os";
import { join } from "node:path";
import type { Pool } from "pg";
import { pino } from "pino";
import { TUPLE_MAX_BYTES } from "../src/event/tuple-codec.js";
import { EventQueue } from "../src/ingest/event-queue.js";
import { Flusher } from "../src/ingest/flusher.js";
import { Ledger } from "../src/ingest/ledger.js";
import { PostgresSink } from "../src/sink/postgres-sink.js";
import { systemClock } from "../src/util/clock.js";
import { bulkEvents, emptyTable, timePsql, verifyRows, writeCopyFile } from "./support/bulk-rows.js";
import { openBenchDatabase } from "./support/database.js";
import { median } from "./support/statistics.js";

const ROWS = Number(process.env.BENCH_ROWS ?? 1_000_000);
const ROUNDS = Number(process.env.BENCH_ROUNDS ?? 7);
const FLUSH_MAX_ROWS = 10_000;

const logger = pino({ level: "warn" }, pino.destination(2));

/** Milliseconds from the start of the Flusher until it is drained; the queue is full before. */
async function timeFlusher(pool: Pool): Promise<number> {
  const queue = new EventQueue({ queueMaxBytes: ROWS * TUPLE_MAX_BYTES, flushMaxRows: FLUSH_MAX_ROWS });
  for (const event of bulkEvents(ROWS)) {
    queue.append(event);
  }
  const flusher = new Flusher({
    queue,
    ledger: new Ledger(),
    sink: new PostgresSink({ pool, prepare: () => Promise.resolve(), logger }),
    buffer: undefined,
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

async function main(): Promise<void> {
  const directory = await mkdtemp(join(tmpdir(), "stats-bench-copy-"));
  const database = await openBenchDatabase(logger);
  const flusherMs: number[] = [];
  const psqlMs: number[] = [];
  try {
    const path = join(directory, "incoming.copy");
    await writeCopyFile(path, ROWS);
    for (let round = 0; round < ROUNDS; round++) {
      await emptyTable(database.pool);
      flusherMs.push(await timeFlusher(database.pool));
      await verifyRows(database.pool, ROWS);
      await emptyTable(database.pool);
      psqlMs.push(await timePsql(database.url, path));
      await verifyRows(database.pool, ROWS);
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
