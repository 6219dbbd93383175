/**
 * What a call costs: CPU time of each process per call and per row, all contenders in one run, by turns. It says more than
 * calls per second do on a machine that others share. Ends with status 1 when the work does not add up.
 *
 * BENCH_BEFORE=FOLDER compares with the service of another checkout, which was built there.
 */
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { pino } from "pino";
import { closePool, createPool } from "../src/postgres/pool.js";
import { type BenchProcess, startProcess } from "./support/bench-process.js";
import { emptyTable, timePsql, verifyRows, writeCopyFile } from "./support/bulk-rows.js";
import { checkCall } from "./support/check-call.js";
import { cpuTime, cpuTimeOfEnded, cpuTimeOfFamily } from "./support/cpu-time.js";
import { type BenchDatabase, openBenchDatabase } from "./support/database.js";
import { LOADS, type Load, makeCalls } from "./support/load.js";
import {
  type BenchContext,
  contender,
  during,
  type Start,
  service,
  verifyBooks,
} from "./support/measurement.js";
import { CALL_EVENTS, encodeBatches, timeBatches } from "./support/push-batch-load.js";
import { describeMachine, table } from "./support/report.js";
import { median } from "./support/statistics.js";

const ROUNDS = Number(process.env.BENCH_ROUNDS ?? 5);
const CALLS = Number(process.env.BENCH_CALLS ?? 50_000);
const BATCHES = Number(process.env.BENCH_BATCHES ?? 20);
const BEFORE = process.env.BENCH_BEFORE;

/** Microseconds of CPU time. */
interface Cost {
  readonly program: number;
  /** Of PostgreSQL, all its processes together. */
  readonly postgres: number;
}

interface Contender {
  readonly name: string;
  /** What the cost is divided by. */
  readonly unit: "call" | "row";
  /** It is of the other checkout, whose schema may be another, so it has a database apart. */
  readonly isBefore?: boolean;
  run(context: BenchContext, postmaster: number): Promise<Cost>;
}

/** The service of the other checkout. */
const before: Start = ({ database }) =>
  startProcess({
    script: resolve(BEFORE ?? "", "dist/src/main.js"),
    environment: { PORT: "0", ADMIN_PORT: "0", SPOOL_MAX_BYTES: "0", DATABASE_URL: database.url },
  });

/** CPU time of a program and of PostgreSQL while `work` goes on. */
async function costOf(
  program: BenchProcess,
  postmaster: number,
  work: () => Promise<unknown>,
): Promise<Cost> {
  const [programAt, postgresAt] = [cpuTime(program.pid), cpuTimeOfFamily(postmaster)];
  await work();
  return { program: cpuTime(program.pid) - programAt, postgres: cpuTimeOfFamily(postmaster) - postgresAt };
}

function perCall(
  name: string,
  start: Start,
  load: Load,
  hasBooks = start === service || start === before,
): Contender {
  return {
    name,
    unit: "call",
    isBefore: start === before,
    run: async (context, postmaster) => {
      await emptyTable(context.database.pool);
      const { last, result } = await during(await start(context), async (program) => {
        const target = { port: program.port, directory: context.directory };
        await checkCall(program.port, load.protocol);
        await makeCalls(target, load, CALLS / 2);
        return costOf(program, postmaster, () => makeCalls(target, load, CALLS));
      });
      if (hasBooks) {
        const accepted = verifyBooks(last, { oks: CALLS + CALLS / 2 + 1, cutMax: 0 });
        await verifyRows(context.database.pool, accepted);
      }
      return { program: result.program / CALLS, postgres: result.postgres / CALLS };
    },
  };
}

function perRow(name: string, start: Start): Contender {
  return {
    name,
    unit: "row",
    isBefore: start === before,
    run: async (context, postmaster) => {
      await emptyTable(context.database.pool);
      const requests = encodeBatches(BATCHES, false);
      const { last, result } = await during(await start(context), async (program) => {
        await timeBatches(program.port, encodeBatches(4, false));
        return costOf(program, postmaster, () => timeBatches(program.port, requests));
      });
      const accepted = verifyBooks(last, { oks: (BATCHES + 4) * CALL_EVENTS, cutMax: 0 });
      await verifyRows(context.database.pool, accepted);
      const rows = BATCHES * CALL_EVENTS;
      return { program: result.program / rows, postgres: result.postgres / rows };
    },
  };
}

const psql: Contender = {
  name: "psql \\copy",
  unit: "row",
  run: async ({ database, directory }, postmaster) => {
    const rows = BATCHES * CALL_EVENTS;
    const path = join(directory, "incoming.copy");
    await writeCopyFile(path, rows);
    await emptyTable(database.pool);
    const [endedAt, postgresAt] = [cpuTimeOfEnded(), cpuTimeOfFamily(postmaster)];
    await timePsql(database.url, path);
    const cost = { program: cpuTimeOfEnded() - endedAt, postgres: cpuTimeOfFamily(postmaster) - postgresAt };
    await verifyRows(database.pool, rows);
    return { program: cost.program / rows, postgres: cost.postgres / rows };
  },
};

const JSON_HTTP1 = LOADS["connect-json"];
const PROTO_H2 = LOADS["connect-proto"];
const GRPC = LOADS.grpc;

const lineUp = {
  bareHttp: perCall("bare node:http", contender("bare-http"), JSON_HTTP1),
  json: perCall("Push, Connect JSON, HTTP/1.1", service, JSON_HTTP1),
  bareHttp2: perCall("bare node:http2", contender("bare-http2"), PROTO_H2),
  proto: perCall("Push, Connect proto, h2", service, PROTO_H2),
  bareGrpc: perCall("bare node:http2, body and trailers", contender("bare-grpc"), GRPC),
  grpcJs: perCall("@grpc/grpc-js, empty handler", contender("grpc-js"), GRPC),
  grpc: perCall("Push, gRPC", service, GRPC),
  batch: perRow("PushBatch, DURABLE", service),
  psql,
} as const;

const lineUpBefore = {
  json: perCall("before: Push, Connect JSON, HTTP/1.1", before, JSON_HTTP1),
  proto: perCall("before: Push, Connect proto, h2", before, PROTO_H2),
  grpc: perCall("before: Push, gRPC", before, GRPC),
  batch: perRow("before: PushBatch, DURABLE", before),
} as const;

/** Pairs of which one cost is divided by the other, round by round. */
const RATIOS: readonly (readonly [
  title: string,
  of: Contender,
  over: Contender,
  parts: readonly (keyof Cost)[],
])[] = [
  ["bare node:http ÷ Push, JSON", lineUp.bareHttp, lineUp.json, ["program"]],
  ["bare node:http2 ÷ Push, proto", lineUp.bareHttp2, lineUp.proto, ["program"]],
  ["bare http2 with body and trailers ÷ Push, gRPC", lineUp.bareGrpc, lineUp.grpc, ["program"]],
  ["@grpc/grpc-js ÷ Push, gRPC", lineUp.grpcJs, lineUp.grpc, ["program"]],
  ["PushBatch ÷ \\copy, with PostgreSQL", lineUp.batch, lineUp.psql, ["program", "postgres"]],
  ...(BEFORE === undefined
    ? []
    : ([
        ["Push, JSON ÷ before", lineUp.json, lineUpBefore.json, ["program"]],
        ["Push, proto ÷ before", lineUp.proto, lineUpBefore.proto, ["program"]],
        ["Push, gRPC ÷ before", lineUp.grpc, lineUpBefore.grpc, ["program"]],
        ["PushBatch ÷ before", lineUp.batch, lineUpBefore.batch, ["program"]],
        ["PushBatch ÷ before, with PostgreSQL", lineUp.batch, lineUpBefore.batch, ["program", "postgres"]],
      ] as const)),
];

/** A database on the same server, for the other checkout to migrate. */
async function openDatabaseBefore({ url, pool, version }: BenchDatabase): Promise<BenchDatabase> {
  await pool.query("CREATE DATABASE stats_before");
  const urlBefore = new URL(url);
  urlBefore.pathname = "/stats_before";
  const poolBefore = createPool({ url: urlBefore.href, logger: pino({ level: "silent" }) });
  const context = {
    database: { url: urlBefore.href, pool: poolBefore, version, close: () => closePool(poolBefore) },
  };
  await (await before({ ...context, directory: "", seconds: 0 })).stop();
  return context.database;
}

async function main(): Promise<void> {
  const directory = await mkdtemp(join(tmpdir(), "stats-bench-cpu-"));
  const database = await openBenchDatabase(pino({ level: "warn" }, pino.destination(2)));
  const databaseBefore = BEFORE === undefined ? database : await openDatabaseBefore(database);
  const contenders: Contender[] = [
    ...Object.values(lineUp),
    ...(BEFORE === undefined ? [] : Object.values(lineUpBefore)),
  ];
  const costs = new Map<Contender, Cost[]>(contenders.map((each) => [each, []]));
  try {
    const { rows } = await database.pool.query<{ data_directory: string }>("SHOW data_directory");
    const pidFile = await readFile(join(rows[0]?.data_directory ?? "", "postmaster.pid"), "utf8");
    const postmaster = Number(pidFile.split("\n")[0]);
    for (let round = 1; round <= ROUNDS; round++) {
      console.log(`round ${round} of ${ROUNDS}`);
      for (const each of round % 2 === 1 ? contenders : contenders.toReversed()) {
        const own = each.isBefore ? databaseBefore : database;
        costs.get(each)?.push(await each.run({ database: own, directory, seconds: 0 }, postmaster));
      }
    }
  } finally {
    await databaseBefore.close();
    await database.close();
    await rm(directory, { recursive: true, force: true });
  }
  const numbers = (values: readonly number[]) => [median(values), Math.min(...values), Math.max(...values)];
  const costRows = [...costs].map(([{ name, unit }, each]) => [
    name,
    ...numbers(each.map(({ program }) => program)).map((value) => value.toFixed(2)),
    median(each.map(({ postgres }) => postgres)).toFixed(2),
    `µs per ${unit}`,
  ]);
  console.log(`\n${table(["CPU time", "median", "lowest", "highest", "PostgreSQL", "unit"], costRows)}\n`);
  const ratioRows = RATIOS.map(([title, of, over, parts]) => {
    const sum = (cost: Cost | undefined) =>
      parts.reduce((total, part) => total + (cost?.[part] ?? Number.NaN), 0);
    const overs = costs.get(over) ?? [];
    const ratios = (costs.get(of) ?? []).map((cost, round) => sum(cost) / sum(overs[round]));
    return [title, ...numbers(ratios).map((value) => value.toFixed(2))];
  });
  console.log(`${table(["ratio of CPU times", "median", "lowest", "highest"], ratioRows)}\n`);
  console.log(
    `${ROUNDS} rounds by turns, ${CALLS} calls or ${BATCHES * CALL_EVENTS} rows each; ${describeMachine()}, ${database.version}`,
  );
}

await main();
