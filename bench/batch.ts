/**
 * What PushBatch costs over PostgreSQL's own bulk load: calls a service process until 1,000,000 events are committed,
 * 10,000 a call, with and without event ids, and loads as many rows into the same table by psql's \copy (binary), by
 * turns; prints the ratios of the medians.
 */
import { mkdtemp, rm } from "node:fs/promises";
import { cpus, tmpdir } from "node:os";
import { join } from "node:path";
import { pino } from "pino";
import { emptyTable, timePsql, verifyRows, writeCopyFile } from "./support/bulk-rows.js";
import { openBenchDatabase } from "./support/database.js";
import { CALL_EVENTS, encodeBatches, timeBatches } from "./support/push-batch-load.js";
import { startService } from "./support/service.js";
import { median } from "./support/statistics.js";

const CALLS = Number(process.env.BENCH_CALLS ?? 100);
const ROWS = CALLS * CALL_EVENTS;
const ROUNDS = Number(process.env.BENCH_ROUNDS ?? 7);

const logger = pino({ level: "warn" }, pino.destination(2));

async function main(): Promise<void> {
  const directory = await mkdtemp(join(tmpdir(), "stats-bench-batch-"));
  const database = await openBenchDatabase(logger);
  const { pool, url, version } = database;
  const service = await startService({ DATABASE_URL: url });
  const path = join(directory, "incoming.copy");
  const contenders = {
    "PushBatch, ids by service": () => timeBatches(service.port, encodeBatches(CALLS, false)),
    "PushBatch, ids by caller": () => timeBatches(service.port, encodeBatches(CALLS, true)),
    "psql \\copy": () => timePsql(url, path),
  };
  const names = Object.keys(contenders) as (keyof typeof contenders)[];
  const durationsMs = new Map(names.map((name) => [name, [] as number[]]));
  try {
    await writeCopyFile(path, ROWS);
    for (let round = 1; round <= ROUNDS; round++) {
      for (const name of names) {
        await emptyTable(pool);
        durationsMs.get(name)?.push(await contenders[name]());
        await verifyRows(pool, ROWS);
      }
      const last = names.map((name) => `${name} ${durationsMs.get(name)?.at(-1)?.toFixed(0)} ms`);
      console.log(`round ${round}: ${last.join(", ")}`);
    }
  } finally {
    await service.stop();
    await database.close();
    await rm(directory, { recursive: true, force: true });
  }
  const medianMs = (name: keyof typeof contenders) => median(durationsMs.get(name) ?? []);
  console.log(`\n${ROWS.toLocaleString("en-US")} rows, ${ROUNDS} rounds by turns, medians; ${version}`);
  console.log(`Node ${process.version}, ${cpus().length} cores (${cpus()[0]?.model})`);
  for (const name of names) {
    const perSecond = Math.round(ROWS / (medianMs(name) / 1000)).toLocaleString("en-US");
    const ratio = (medianMs("psql \\copy") / medianMs(name)).toFixed(2);
    console.log(`${name.padEnd(26)} ${perSecond.padStart(9)} rows/s  ${ratio}`);
  }
}

await main();
