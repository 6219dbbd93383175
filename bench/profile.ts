/**
 * Where the time of the hot path goes: `npm run profile [connect-json | connect-proto | grpc]` drives the service for
 * some seconds under V8's profiler, leaves the .cpuprofile in bench/results (Chrome's DevTools and VS Code open it) and
 * prints the functions with the most time of their own.
 */
import { mkdir, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { pino } from "pino";
import { migrationsDirectory } from "../src/package-info.js";
import { verifyRows } from "./support/bulk-rows.js";
import { PROTOCOLS, type Protocol } from "./support/check-call.js";
import { readSelfTimes } from "./support/cpu-profile.js";
import { openBenchDatabase } from "./support/database.js";
import { loadGeneratorVersions, makeLoad } from "./support/load.js";
import { during, verifyBooks } from "./support/measurement.js";
import { startService } from "./support/service.js";

const SECONDS = Number(process.env.BENCH_SECONDS ?? 5);
const SAMPLE_EVERY_US = 250;
const SHOWN = 20;

const resultsDirectory = join(dirname(migrationsDirectory), "bench/results");

function isProtocol(text: string): text is Protocol {
  return (PROTOCOLS as readonly string[]).includes(text);
}

/** Resolves with the path of the profile. */
async function profileService(protocol: Protocol): Promise<string> {
  await loadGeneratorVersions();
  await mkdir(resultsDirectory, { recursive: true });
  const name = `${protocol}.cpuprofile`;
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
    const load =
      protocol === "connect-json" ? { connections: 64, streams: 1 } : { connections: 8, streams: 32 };
    const { last, result } = await during(service, ({ port }) =>
      makeLoad({ port, directory }, { protocol, ...load }, SECONDS),
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
  const [protocol = "grpc"] = process.argv.slice(2);
  if (!isProtocol(protocol)) {
    throw new Error(`the protocol must be one of ${PROTOCOLS.join(", ")}`);
  }
  const path = await profileService(protocol);
  const selfTimes = await readSelfTimes(path);
  const totalMs = selfTimes.reduce((sum, { selfMs }) => sum + selfMs, 0);
  console.log(`\n${totalMs.toFixed(0)} ms of work, start and warm-up included; the most of it in:\n`);
  for (const { name, selfMs } of selfTimes.slice(0, SHOWN)) {
    const share = ((100 * selfMs) / totalMs).toFixed(1);
    console.log(`${share.padStart(5)} %  ${selfMs.toFixed(0).padStart(6)} ms  ${name}`);
  }
  console.log(`\n${path}`);
}

await main();
