/**
 * An hour at a steady rate, or SOAK_MINUTES: prints each minute what the heap holds and how long calls take, and at
 * the end the slope of the heap, the p99, and whether the books and the table agree. Run with --expose-gc.
 */
import { fork } from "node:child_process";
import { once } from "node:events";
import { Agent, request } from "node:http";
import { createHistogram } from "node:perf_hooks";
import { pino } from "pino";
import { createServiceContainer } from "../src/app/container.js";
import { Service } from "../src/app/service.js";
import { loadConfig } from "../src/config.js";
import { openBenchDatabase } from "./support/database.js";

const MINUTES = Number(process.env.SOAK_MINUTES ?? 60);
const RATE = Number(process.env.SOAK_RATE ?? 2_000);
const CONNECTIONS = 64;
const TICK_MS = 10;
const NS_PER_MS = 1e6;
const MIB = 2 ** 20;

/** What the load generator saw in the minute that has passed. Times in milliseconds. */
interface MinuteReport {
  readonly acknowledged: number;
  readonly failed: number;
  readonly p50: number;
  readonly p99: number;
}

const logger = pino({ level: "warn" }, pino.destination(2));

/** Pushes at RATE a second until it is told to stop, and reports each minute. */
function generateLoad(url: string): void {
  const agent = new Agent({ keepAlive: true, maxSockets: CONNECTIONS });
  const latency = createHistogram();
  let acknowledged = 0;
  let failed = 0;
  let sent = 0;
  const startedAt = performance.now();
  const pushOne = () => {
    const beganAt = performance.now();
    const call = request(
      url,
      { method: "POST", headers: { "content-type": "application/json" }, agent },
      (response) => {
        response.resume();
        response.on("end", () => {
          latency.record(Math.max(1, Math.round((performance.now() - beganAt) * NS_PER_MS)));
          acknowledged += response.statusCode === 200 ? 1 : 0;
          failed += response.statusCode === 200 ? 0 : 1;
        });
      },
    );
    call.on("error", () => {
      failed += 1;
    });
    call.end(`{"property":"news","section":1,"item":${1 + (sent % 1_000)}}`);
    sent += 1;
  };
  const ticker = setInterval(() => {
    const due = ((performance.now() - startedAt) / 1000) * RATE;
    while (sent < due) {
      pushOne();
    }
  }, TICK_MS);
  const reporter = setInterval(() => {
    const report: MinuteReport = {
      acknowledged,
      failed,
      p50: latency.percentile(50) / NS_PER_MS,
      p99: latency.percentile(99) / NS_PER_MS,
    };
    process.send?.(report);
    latency.reset();
    acknowledged = 0;
    failed = 0;
  }, 60_000);
  process.once("message", () => {
    clearInterval(ticker);
    clearInterval(reporter);
    // The calls in flight are answered first.
    setTimeout(() => process.exit(0), 1_000);
  });
}

/** Slope of `values`, one a minute, in units an hour, by least squares. */
function slopePerHour(values: readonly number[]): number {
  const meanX = (values.length - 1) / 2;
  const meanY = values.reduce((sum, y) => sum + y, 0) / values.length;
  const covariance = values.reduce((sum, y, x) => sum + (x - meanX) * (y - meanY), 0);
  const variance = values.reduce((sum, _, x) => sum + (x - meanX) ** 2, 0);
  return (60 * covariance) / variance;
}

function heapMib(): number {
  globalThis.gc?.();
  return process.memoryUsage().heapUsed / MIB;
}

async function soak(): Promise<boolean> {
  const database = await openBenchDatabase(logger);
  await database.pool.query("TRUNCATE incoming");
  const config = loadConfig({ DATABASE_URL: database.url, PORT: "0", ADMIN_PORT: "0", SPOOL_MAX_BYTES: "0" });
  const service = new Service({ config, logger, container: createServiceContainer(config, logger) });
  const { port } = await service.start();
  const load = fork(new URL(import.meta.url), [`http://127.0.0.1:${port}/stats.v1.StatsService/Push`]);
  const heap: number[] = [];
  const p99: number[] = [];
  let failed = 0;
  for (let minute = 1; minute <= MINUTES; minute++) {
    const [report] = (await once(load, "message")) as [MinuteReport];
    heap.push(heapMib());
    p99.push(report.p99);
    failed += report.failed;
    console.log(
      `minute ${minute}: ${report.acknowledged} acknowledged, ${report.failed} failed, ` +
        `p50 ${report.p50.toFixed(2)} ms, p99 ${report.p99.toFixed(2)} ms, heap ${heap.at(-1)?.toFixed(1)} MiB`,
    );
  }
  load.send("stop");
  await once(load, "exit");
  const { isBalanced, inserted } = await service.stop();
  const { rows } = await database.pool.query<{ count: string }>("SELECT count(*) FROM incoming");
  await database.close();
  console.log(`\nheap slope   ${slopePerHour(heap).toFixed(2)} MiB an hour`);
  console.log(`p99          ${Math.max(...p99).toFixed(2)} ms in the worst minute`);
  console.log(
    `books        ${isBalanced ? "balance" : "DO NOT BALANCE"}; ${inserted} inserted, ${rows[0]?.count} rows`,
  );
  return isBalanced && failed === 0 && Number(rows[0]?.count) === inserted;
}

const url = process.argv[2];
if (url === undefined) {
  process.exit((await soak()) ? 0 : 1);
} else {
  generateLoad(url);
}
