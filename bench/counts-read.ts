/**
 * What it costs to ask what was counted: QuerySeries and QueryTop by RPC, next to the same answers by SQL over the raw rows,
 * with few rows and with ten times as many of the same keys and buckets.
 */
import { cpus } from "node:os";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import { createClient } from "@connectrpc/connect";
import { createConnectTransport } from "@connectrpc/connect-node";
import type { Pool } from "pg";
import { pino } from "pino";
import { CountsService, Dimension, Granularity } from "../gen/stats/v1/counts_pb.js";
import { DAY_MS, HOUR_MS, QUARTER_HOUR_MS } from "../src/counts/time-units.js";
import { type BenchDatabase, openBenchDatabase } from "./support/database.js";
import { startService } from "./support/service.js";
import { median, percentile } from "./support/statistics.js";

const ROWS = Number(process.env.BENCH_COUNT_ROWS ?? 2_000_000);
const FACTOR = 10;
const ITEMS = 100_000;
const DAYS = 30;
const SQL_ROUNDS = 3;
const SERIES_CALLS = 500;
const TOP_CALLS = 50;

const logger = pino({ level: "warn" }, pino.destination(2));
/** The end of the hour that goes on; the range is the 30 days before. */
const END = Math.floor(Date.now() / HOUR_MS) * HOUR_MS;
const START = END - DAYS * DAY_MS;

/** A UUIDv7 of a row's time: as the service makes them, so that the key grows as it does there. */
const UUID_SQL = `(lpad(to_hex((extract(epoch FROM stamp) * 1000)::bigint), 12, '0') || '7' ||
  substr(md5(random()::text), 1, 3) || '8' || substr(md5(random()::text), 1, 15))::uuid`;

/**
 * Rows in the order of time; items by a power of a random number, so that the first tenth has almost half of the events.
 * `factor` rows for each of `rows` keys and quarters of an hour.
 */
async function fill(pool: Pool, rows: number, factor: number): Promise<void> {
  await inParts(pool, [
    "SET statement_timeout = 0",
    "TRUNCATE incoming, counts_quarter_hour, counts_hour, counts_day",
    "SELECT setseed(0.5)",
    `INSERT INTO incoming (id, property, property_section, property_id, stamp)
     SELECT ${UUID_SQL}, 'news', item % 50 + 1, item, stamp
     FROM (
       SELECT item, bucket + random() * interval '${QUARTER_HOUR_MS} ms' * 0.999 AS stamp
       FROM (
         SELECT 1 + floor(${ITEMS} * random() ^ 3)::bigint AS item,
           to_timestamp(${START / 1000} + floor(${DAYS * 96}.0 * n / ${rows}) * 900) AS bucket
         FROM generate_series(0, ${rows - 1}) AS n
       ) AS keys, generate_series(1, ${factor})
     ) AS events`,
    ...["quarter_hour", "hour", "day"].map((tier, index) => {
      const seconds = [900, 3_600, 86_400][index];
      // In the order in which the service would have come to them.
      return `INSERT INTO counts_${tier}
        SELECT property, coalesce(property_section, 0), coalesce(property_id, 0), bucket, count(*)
        FROM (SELECT property, property_section, property_id,
            to_timestamp(floor(extract(epoch FROM stamp) / ${seconds}) * ${seconds}) AS bucket FROM incoming) AS rows
        GROUP BY GROUPING SETS ((property, bucket), (property, property_section, bucket), (property, property_section, property_id, bucket))
        ORDER BY bucket`;
    }),
    "UPDATE counts_state SET fresh_at = now()",
    "DELETE FROM counts_backfill",
    "VACUUM ANALYZE incoming",
    "VACUUM ANALYZE counts_quarter_hour",
    "VACUUM ANALYZE counts_hour",
    "VACUUM ANALYZE counts_day",
  ]);
}

/** The statements on one connection, which may take as long as they do. */
async function inParts(pool: Pool, statements: readonly string[]): Promise<void> {
  const client = await pool.connect();
  try {
    for (const text of statements) {
      await client.query({ text, query_timeout: 3_600_000 } as { text: string });
    }
  } finally {
    client.release(true);
  }
}

interface Timed {
  readonly ms: number;
  readonly total: bigint;
}

async function timeSql(pool: Pool, text: string): Promise<Timed> {
  const times: number[] = [];
  let total = 0n;
  for (let round = 0; round < SQL_ROUNDS; round++) {
    const startedAt = performance.now();
    const { rows } = await pool.query<{ count: string }>(text);
    times.push(performance.now() - startedAt);
    total = rows.reduce((sum, { count }) => sum + BigInt(count), 0n);
  }
  return { ms: median(times), total };
}

const WITHIN = `stamp >= to_timestamp(${START / 1000}) AND stamp < to_timestamp(${END / 1000})`;
const seriesSql = (item: number) => `SELECT date_trunc('hour', stamp, 'UTC') AS hour, count(*) FROM incoming
  WHERE property = 'news' AND property_section = ${(item % 50) + 1} AND property_id = ${item} AND ${WITHIN}
  GROUP BY hour ORDER BY hour`;
const TOP_SQL = `SELECT property_section, property_id, count(*) FROM incoming
  WHERE property = 'news' AND ${WITHIN} GROUP BY 1, 2 ORDER BY count(*) DESC, 1, 2 LIMIT 20`;

interface Figures {
  readonly rows: number;
  readonly series: { readonly sqlMs: number; readonly p95Ms: number; readonly p50Ms: number };
  readonly top: { readonly sqlMs: number; readonly p95Ms: number; readonly p50Ms: number };
}

async function measure(database: BenchDatabase, rows: number): Promise<Figures> {
  const service = await startService({ DATABASE_URL: database.url, COUNTS: "off" });
  try {
    const transport = createConnectTransport({
      baseUrl: `http://127.0.0.1:${service.port}`,
      httpVersion: "2",
    });
    const client = createClient(CountsService, transport);
    const range = { startTime: timestampFromMs(START), endTime: timestampFromMs(END) };
    const askSeries = (item: number) =>
      client.querySeries({
        property: "news",
        section: (item % 50) + 1,
        item,
        granularity: Granularity.HOUR,
        ...range,
      });
    const askTop = () => client.queryTop({ dimension: Dimension.ITEM, property: "news", ...range });
    const seriesSqlTime = await timeSql(database.pool, seriesSql(1));
    const topSqlTime = await timeSql(database.pool, TOP_SQL);
    same("QuerySeries", (await askSeries(1)).totalCount, seriesSqlTime.total);
    same("QueryTop", sum((await askTop()).entries), topSqlTime.total);
    const series = await timeCalls(SERIES_CALLS, (n) =>
      askSeries(1 + Math.floor(ITEMS * (n / SERIES_CALLS) ** 3)),
    );
    const top = await timeCalls(TOP_CALLS, askTop);
    return {
      rows,
      series: { sqlMs: seriesSqlTime.ms, ...series },
      top: { sqlMs: topSqlTime.ms, ...top },
    };
  } finally {
    await service.stop();
  }
}

async function timeCalls(calls: number, call: (n: number) => Promise<unknown>) {
  const times: number[] = [];
  for (let n = -Math.ceil(calls / 10); n < calls; n++) {
    const startedAt = performance.now();
    await call(Math.max(0, n));
    if (n >= 0) {
      times.push(performance.now() - startedAt);
    }
  }
  return { p50Ms: median(times), p95Ms: percentile(times, 0.95) };
}

function sum(entries: readonly { readonly count: bigint }[]): bigint {
  return entries.reduce((total, { count }) => total + count, 0n);
}

function same(what: string, answer: bigint, bySql: bigint): void {
  if (answer !== bySql || answer === 0n) {
    throw new Error(`${what} counts ${answer}, SQL over the rows ${bySql}`);
  }
}

async function main(): Promise<void> {
  const database = await openBenchDatabase(logger);
  const figures: Figures[] = [];
  try {
    for (const factor of [1, FACTOR]) {
      await fill(database.pool, ROWS, factor);
      figures.push(await measure(database, ROWS * factor));
      console.log(JSON.stringify(figures.at(-1)));
    }
    await report(figures, database);
  } finally {
    await database.close();
  }
}

async function report(figures: readonly Figures[], { pool, version }: BenchDatabase): Promise<void> {
  const { rows } = await pool.query<{ workers: string }>(
    "SELECT current_setting('max_parallel_workers_per_gather') AS workers",
  );
  console.log(`\n${version}, ${rows[0]?.workers} parallel workers for SQL, none for queries of counts`);
  console.log(`Node ${process.version}, ${cpus().length} cores (${cpus()[0]?.model})\n`);
  console.log("| rows | question | SQL over rows, ms | RPC p50, ms | RPC p95, ms | SQL ÷ p95 |");
  console.log("| --- | --- | --- | --- | --- | --- |");
  for (const { rows: count, series, top } of figures) {
    for (const [name, { sqlMs, p50Ms, p95Ms }] of Object.entries({ series, top })) {
      const cells = [sqlMs, p50Ms, p95Ms].map((ms) => ms.toFixed(1));
      console.log(
        `| ${count.toLocaleString("en-US")} | ${name} | ${cells.join(" | ")} | ${Math.round(sqlMs / p95Ms)} |`,
      );
    }
  }
  const [small, large] = figures;
  if (small !== undefined && large !== undefined) {
    const ratio = (name: "series" | "top") => (large[name].p95Ms / small[name].p95Ms).toFixed(2);
    console.log(
      `\np95 with ${FACTOR} times the rows ÷ without: series ${ratio("series")}, top ${ratio("top")}`,
    );
  }
}

await main();
