/**
 * What more workers gain: the service with one and with BENCH_WORKERS, under each load, by turns; prints the ratios of
 * the medians. Every OK must be a row, or the run fails. The load generator and PostgreSQL share the machine's cores
 * with the workers, so the ratio on a small machine says little of a large one.
 */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pino } from "pino";
import { openBenchDatabase } from "./support/database.js";
import { LOADS, loadGeneratorVersions } from "./support/load.js";
import { type BenchContext, type Measurement, pushCalls } from "./support/measurement.js";
import { describeMachine, seriesTable } from "./support/report.js";
import { startService } from "./support/service.js";
import { median } from "./support/statistics.js";

const WORKERS = Number(process.env.BENCH_WORKERS ?? 2);
const ROUNDS = Number(process.env.BENCH_ROUNDS ?? 5);
const SECONDS = Number(process.env.BENCH_SECONDS ?? 4);
const LOAD_NAMES = ["connect-json", "grpc", "grpc-1000-durable"] as const;

function withWorkers(workers: number, loadName: keyof typeof LOADS): Measurement {
  return pushCalls({
    name: `${loadName}, WORKERS=${workers}`,
    start: ({ database }) => startService({ DATABASE_URL: database.url, WORKERS: String(workers) }),
    load: LOADS[loadName],
    books: "rows",
  });
}

const pairs = LOAD_NAMES.map((name) => ({
  name,
  one: withWorkers(1, name),
  many: withWorkers(WORKERS, name),
}));

async function runRounds(context: BenchContext): Promise<Map<Measurement, number[]>> {
  const values = new Map<Measurement, number[]>();
  for (let round = 1; round <= ROUNDS; round++) {
    for (const { name, one, many } of pairs) {
      // Who comes first changes, so that what the machine does meanwhile meets neither more than the other.
      const turn = round % 2 === 1 ? [one, many] : [many, one];
      for (const measurement of turn) {
        const { value } = await measurement.run(context);
        values.set(measurement, [...(values.get(measurement) ?? []), value]);
      }
      const [oneValue, manyValue] = [one, many].map((each) => values.get(each)?.at(-1) ?? Number.NaN);
      console.log(`round ${round}: ${name.padEnd(18)} ${((manyValue ?? 0) / (oneValue ?? 0)).toFixed(2)}`);
    }
  }
  return values;
}

async function main(): Promise<void> {
  const generators = await loadGeneratorVersions();
  const directory = await mkdtemp(join(tmpdir(), "stats-bench-workers-"));
  const database = await openBenchDatabase(pino({ level: "warn" }, pino.destination(2)));
  let values: Map<Measurement, number[]>;
  try {
    values = await runRounds({ database, directory, seconds: SECONDS });
  } finally {
    await database.close();
    await rm(directory, { recursive: true, force: true });
  }
  const series = [...values].map(
    ([measurement, each]) => [measurement, { values: each, p99Ms: [] }] as const,
  );
  console.log(`\n${seriesTable(new Map(series))}\n`);
  for (const { name, one, many } of pairs) {
    const ratio = median(values.get(many) ?? []) / median(values.get(one) ?? []);
    console.log(`WORKERS=${WORKERS} ÷ WORKERS=1, ${name}: ${ratio.toFixed(2)}`);
  }
  const versions = [describeMachine(), database.version, ...generators].join(", ");
  console.log(`${ROUNDS} rounds by turns, ${SECONDS} s a measurement; ${versions}`);
}

await main();
