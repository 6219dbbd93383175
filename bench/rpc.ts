/**
 * How fast the service is beside what it could be measured against: all contenders in one run, by turns; prints the
 * medians and the figures that the service must reach, and leaves all numbers in bench/results/latest.json. A figure
 * whose rows do not add up is void, and the exit status is not 0 then.
 */
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { pino } from "pino";
import { migrationsDirectory } from "../src/util/package-info.js";
import { FIGURES, MEASUREMENTS } from "./line-up.js";
import { openBenchDatabase } from "./support/database.js";
import { judge, type Series } from "./support/figures.js";
import { loadGeneratorVersions } from "./support/load.js";
import type { BenchContext, Measurement, Outcome } from "./support/measurement.js";
import { describeMachine, figureTable, seriesTable } from "./support/report.js";

const ROUNDS = Number(process.env.BENCH_ROUNDS ?? 5);
const SECONDS = Number(process.env.BENCH_SECONDS ?? 4);
/** Only the measurements whose name has this in it. Default: all. */
const ONLY = process.env.BENCH_ONLY ?? "";

type Result = Outcome | { readonly void: string };

const resultsFile = join(dirname(migrationsDirectory), "bench/results/latest.json");

async function measure(measurement: Measurement, context: BenchContext): Promise<Result> {
  const { name, unit } = measurement;
  try {
    const outcome = await measurement.run(context);
    console.log(
      `  ${name.padEnd(44)} ${Math.round(outcome.value).toLocaleString("en-US").padStart(9)} ${unit}`,
    );
    return outcome;
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    console.log(`  ${name.padEnd(44)}      void: ${reason}`);
    return { void: reason };
  }
}

function seriesOf(results: readonly Result[]): Series {
  const outcomes = results.map((result) => ("void" in result ? undefined : result));
  return {
    values: outcomes.map((outcome) => outcome?.value),
    p99Ms: outcomes.map((outcome) => outcome?.p99Ms),
  };
}

async function runRounds(context: BenchContext): Promise<Map<Measurement, Result[]>> {
  let isInterrupted = false;
  process.once("SIGINT", () => {
    isInterrupted = true;
  });
  const measurements = MEASUREMENTS.filter(({ name }) => name.includes(ONLY));
  const results = new Map(measurements.map((measurement) => [measurement, [] as Result[]]));
  for (let round = 1; round <= ROUNDS; round++) {
    console.log(`round ${round} of ${ROUNDS}`);
    // Back and forth, so that what the machine does meanwhile meets nobody more than others.
    for (const measurement of round % 2 === 1 ? measurements : measurements.toReversed()) {
      if (isInterrupted) {
        throw new Error("interrupted");
      }
      results.get(measurement)?.push(await measure(measurement, context));
    }
  }
  return results;
}

async function main(): Promise<void> {
  const generators = await loadGeneratorVersions();
  const directory = await mkdtemp(join(tmpdir(), "stats-bench-rpc-"));
  const database = await openBenchDatabase(pino({ level: "warn" }, pino.destination(2)));
  const versions = [describeMachine(), database.version, ...generators].join(", ");
  let results: Map<Measurement, Result[]>;
  try {
    results = await runRounds({ database, directory, seconds: SECONDS });
  } finally {
    await database.close();
    await rm(directory, { recursive: true, force: true });
  }
  const series = new Map([...results].map(([measurement, rounds]) => [measurement, seriesOf(rounds)]));
  const figures = FIGURES.map((definition) => judge(definition, series));
  console.log(`\n${seriesTable(series)}\n\n${figureTable(figures)}\n`);
  console.log(`${ROUNDS} rounds by turns, ${SECONDS} s a measurement; ${versions}`);
  const rounds = Object.fromEntries([...results].map(([{ name }, each]) => [name, each]));
  const file = { at: new Date().toISOString(), versions, seconds: SECONDS, figures, rounds };
  await mkdir(dirname(resultsFile), { recursive: true });
  await writeFile(resultsFile, `${JSON.stringify(file, undefined, 2)}\n`);
  console.log(`all numbers: ${resultsFile}`);
  if ([...results.values()].flat().some((result) => "void" in result)) {
    process.exitCode = 1;
  }
}

await main();
