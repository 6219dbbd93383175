/**
 * What the metrics cost: the service answers Push with METRICS on and scraped, and with METRICS off, by turns, and the rows
 * are counted; prints calls a second and the CPU time of a call, on ÷ off. First, what timing one call costs by itself.
 */
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { pino } from "pino";
import { emptyTable, verifyRows } from "./support/bulk-rows.js";
import { checkCall } from "./support/check-call.js";
import { type BenchDatabase, openBenchDatabase } from "./support/database.js";
import { LOADS, makeLoad } from "./support/load.js";
import { during, verifyBooks } from "./support/measurement.js";
import { timeObservations } from "./support/observations.js";
import { describeMachine } from "./support/report.js";
import { startService } from "./support/service.js";
import { median } from "./support/statistics.js";

const ROUNDS = Number(process.env.BENCH_ROUNDS ?? 7);
const SECONDS = Number(process.env.BENCH_SECONDS ?? 4);
/** Of Prometheus by default: with runs of less, the one scrape at their start. */
const SCRAPE_INTERVAL_MS = Number(process.env.BENCH_SCRAPE_MS ?? 15_000);
const PROTOCOLS = ["connect-json", "grpc"] as const;
const SWITCH = ["on", "off"] as const;

/** One run of the service. */
interface Run {
  readonly callsPerSecond: number;
  readonly cpuUsPerCall: number;
}

type Setting = (typeof SWITCH)[number];
type Runs = Record<Setting, Run[]>;

/** CPU time of a process so far, in microseconds. Linux only. */
async function cpuUs(pid: number): Promise<number> {
  const stat = await readFile(`/proc/${pid}/stat`, "latin1");
  // Fields 14 and 15, in ticks of 10 ms; the second field, the name, may have blanks in it.
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  return (Number(fields[11]) + Number(fields[12])) * 10_000;
}

/** Scrapes again and again until it is told to stop; resolves then. */
function scrape(adminPort: number | undefined): () => Promise<void> {
  const stop = new AbortController();
  const loop = async () => {
    while (!stop.signal.aborted) {
      const response = await fetch(`http://127.0.0.1:${adminPort}/metrics`);
      const text = await response.text();
      if (!text.includes("stats_rpc_duration_seconds_count")) {
        throw new Error(`no metrics: ${response.status}`);
      }
      await sleep(SCRAPE_INTERVAL_MS, undefined, { signal: stop.signal }).catch(() => undefined);
    }
  };
  const done = loop();
  return () => {
    stop.abort();
    return done;
  };
}

async function run(
  database: BenchDatabase,
  directory: string,
  protocol: (typeof PROTOCOLS)[number],
  metrics: Setting,
): Promise<Run> {
  await emptyTable(database.pool);
  const service = await startService({ DATABASE_URL: database.url, METRICS: metrics });
  const { last, result } = await during(service, async ({ port, adminPort, pid }) => {
    await checkCall(port, protocol);
    const stopScraping = metrics === "on" ? scrape(adminPort) : undefined;
    const target = { port, directory };
    // Compiling the code takes CPU, too, and is no cost of a call.
    const warmUp = await makeLoad(target, LOADS[protocol], 1);
    const before = await cpuUs(pid);
    const load = await makeLoad(target, LOADS[protocol], SECONDS);
    const cpu = (await cpuUs(pid)) - before;
    await stopScraping?.();
    const oks = warmUp.oks + load.oks + 1;
    return { ...load, oks, cutMax: warmUp.cutMax + load.cutMax, cpuUsPerCall: cpu / load.oks };
  });
  const accepted = verifyBooks(last, result);
  await verifyRows(database.pool, accepted);
  return { callsPerSecond: result.perSecond, cpuUsPerCall: result.cpuUsPerCall };
}

function report(protocol: string, { on, off }: Runs): void {
  const of = (runs: Run[], key: keyof Run) => median(runs.map((each) => each[key]));
  const ratios = on.map((each, i) => each.callsPerSecond / (off[i]?.callsPerSecond ?? Number.NaN));
  const [callsOn, callsOff] = [of(on, "callsPerSecond"), of(off, "callsPerSecond")];
  const [cpuOn, cpuOff] = [of(on, "cpuUsPerCall"), of(off, "cpuUsPerCall")];
  const cpuRatios = on.map((each, i) => each.cpuUsPerCall / (off[i]?.cpuUsPerCall ?? Number.NaN));
  console.log(
    `${protocol.padEnd(13)} ${Math.round(callsOn)} ÷ ${Math.round(callsOff)} calls/s = ` +
      `${(callsOn / callsOff).toFixed(3)} (rounds: median ${median(ratios).toFixed(3)}, ` +
      `${Math.min(...ratios).toFixed(3)} – ${Math.max(...ratios).toFixed(3)}); ` +
      `CPU ${cpuOn.toFixed(2)} ÷ ${cpuOff.toFixed(2)} µs a call = ${(cpuOn / cpuOff).toFixed(3)} ` +
      `(rounds: median ${median(cpuRatios).toFixed(3)}, ${Math.min(...cpuRatios).toFixed(3)} – ` +
      `${Math.max(...cpuRatios).toFixed(3)})`,
  );
}

async function main(): Promise<void> {
  for (const { name, ns } of timeObservations()) {
    console.log(`${name.padEnd(42)} ${ns.toFixed(0).padStart(5)} ns a call`);
  }
  const directory = await mkdtemp(join(tmpdir(), "stats-bench-metrics-"));
  const database = await openBenchDatabase(pino({ level: "warn" }, pino.destination(2)));
  try {
    for (const protocol of PROTOCOLS) {
      const runs: Runs = { on: [], off: [] };
      for (let round = 0; round < ROUNDS; round++) {
        // Back and forth, so that what the machine does meanwhile meets neither more than the other.
        for (const metrics of round % 2 === 0 ? SWITCH : SWITCH.toReversed()) {
          runs[metrics].push(await run(database, directory, protocol, metrics));
        }
      }
      report(protocol, runs);
    }
    console.log(`${ROUNDS} rounds by turns, ${SECONDS} s each, rows verified; ${describeMachine()}`);
  } finally {
    await database.close();
    await rm(directory, { recursive: true, force: true });
  }
}

await main();
