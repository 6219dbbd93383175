/**
 * Where the time of the hot path goes: `npm run profile [-- connect-json]`, or another of LOADS, drives the service for
 * some seconds under V8's profiler, leaves the .cpuprofile in bench/results (Chrome's DevTools and VS Code open it) and
 * prints the functions with the most time of their own.
 */
import { mkdir, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { pino } from "pino";
import { migrationsDirectory } from "../src/util/package-info.js";
import { verifyRows } from "./support/bulk-rows.js";
import { readSelfTimes, sumByOrigin } from "./support/cpu-profile.js";
import { openBenchDatabase } from "./support/database.js";
import { LOADS, loadGeneratorVersions, makeLoad } from "./support/load.js";
import { during, verifyBooks } from "./support/measurement.js";
import { startService } from "./support/service.js";

const SECONDS = Number(process.env.BENCH_SECONDS ?? 5);
const SAMPLE_EVERY_US = 250;
const SHOWN_ORIGINS = 6;
const SHOWN_FUNCTIONS = 20;

const resultsDirectory = join(dirname(migrationsDirectory), "bench/results");

type LoadName = keyof typeof LOADS;

function isLoadName(text: string): text is LoadName {
  return Object.hasOwn(LOADS, text);
}

/** Resolves with the path of the profile. */
async function profileService(loadName: LoadName): Promise<string> {
  await loadGeneratorVersions();
  await mkdir(resultsDirectory, { recursive: true });
  const name = `${loadName}.cpuprofile`;
  const profiler = [
    "--cpu-prof",
    `--cpu-prof-interval=${SAMPLE_EVERY_US}`,
    `--cpu-prof-dir=${resultsDirectory}`,
    `--cpu-prof-name=${name}`,
  ];
  const directory = await mkdtemp(join(tmpdir(), "stats-bench-profile-"));
  const database = await openBenchDatabase(pino({ level: "warn" }, pino.destination(2)));
  try {
    const service = await startService({ DATABASE_URL: database.url }, profiler);
    const { last, result } = await during(service, ({ port }) =>
      makeLoad({ port, directory }, LOADS[loadName], SECONDS),
    );
    console.log(`${Math.round(result.perSecond).toLocaleString("en-US")} calls/s under the profiler`);
    await verifyRows(database.pool, verifyBooks(last, result));
  } finally {
    await database.close();
    await rm(directory, { recursive: true, force: true });
  }
  return join(resultsDirectory, name);
}

async function main(): Promise<void> {
  const [loadName = "grpc"] = process.argv.slice(2);
  if (!isLoadName(loadName)) {
    throw new Error(`the load must be one of ${Object.keys(LOADS).join(", ")}`);
  }
  const path = await profileService(loadName);
  const selfTimes = await readSelfTimes(path);
  const totalMs = selfTimes.reduce((sum, { selfMs }) => sum + selfMs, 0);
  const share = (ms: number) => `${((100 * ms) / totalMs).toFixed(1).padStart(5)} %`;
  console.log(
    `\n${totalMs.toFixed(0)} ms of work, start and warm-up included; whose code it was spent in:\n`,
  );
  for (const [origin, selfMs] of sumByOrigin(selfTimes).slice(0, SHOWN_ORIGINS)) {
    console.log(`${share(selfMs)}  ${origin}`);
  }
  console.log("\nfunctions, by the time in themselves:\n");
  for (const { name, selfMs } of selfTimes.slice(0, SHOWN_FUNCTIONS)) {
    console.log(`${share(selfMs)}  ${selfMs.toFixed(0).padStart(6)} ms  ${name}`);
  }
  console.log(`\n${path}`);
}

await main();
