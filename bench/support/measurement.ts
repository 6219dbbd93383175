/** What the benchmark measures, one kind a function: each counts what was written, and rejects when that is not right. */
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { type BenchProcess, type LogLine, startProcess } from "./bench-process.js";
import { countRows, emptyTable, timePsql, verifyRows, writeCopyFile } from "./bulk-rows.js";
import { checkCall } from "./check-call.js";
import type { BenchDatabase } from "./database.js";
import { type Load, type LoadResult, makeLoad, makeSteadyLoad } from "./load.js";
import { CALL_EVENTS, encodeBatches, timeBatches } from "./push-batch-load.js";
import { startService } from "./service.js";

/** What a measurement needs. */
export interface BenchContext {
  readonly database: BenchDatabase;
  /** For temporary files. */
  readonly directory: string;
  /** How long calls are made. */
  readonly seconds: number;
}

/** What a measurement gives. The counts are of the whole life of the program, its warm-up included. */
export interface Outcome {
  /** In the unit of the measurement. */
  readonly value: number;
  readonly p99Ms?: number | undefined;
  /** Calls that the load generator saw answered OK, and the one that was looked at. */
  readonly oks?: number;
  /** Events that the program says it accepted. */
  readonly accepted?: number;
  /** Rows in the table after it has stopped. */
  readonly rows?: number;
}

export interface Measurement {
  readonly name: string;
  readonly unit: string;
  /** Rejects when the figure would be void. */
  run(context: BenchContext): Promise<Outcome>;
}

/** Starts the program to be measured. */
export type Start = (context: BenchContext) => Promise<BenchProcess>;

/** What becomes of the events that a program takes: rows in `incoming`, or only a number; some take none at all. */
export type Bookkeeping = "rows" | "accepted" | "none";

export interface PushOptions {
  readonly name: string;
  readonly start: Start;
  readonly load: Load;
  /** Calls per second, for a load that has HTTP/2. Default: as many as are answered. */
  readonly pace?: number;
  readonly books: Bookkeeping;
}

/** Starts a contender program of bench/contenders. */
export function contender(name: string, environment: Readonly<Record<string, string>> = {}): Start {
  const script = fileURLToPath(new URL(`../contenders/${name}.js`, import.meta.url));
  return ({ database }) =>
    startProcess({ script, environment: { DATABASE_URL: database.url, ...environment } });
}

/** Starts the service. */
export const service: Start = ({ database }) => startService({ DATABASE_URL: database.url });

/** Calls of Push per second. */
export function pushCalls({ name, start, load, pace, books }: PushOptions): Measurement {
  return {
    name,
    unit: "calls/s",
    run: async (context) => {
      const { pool } = context.database;
      await emptyTable(pool);
      const { last, result } = await during(await start(context), async ({ port }) => {
        await checkCall(port, load.protocol);
        const target = { port, directory: context.directory };
        const { seconds } = context;
        return pace === undefined
          ? makeLoad(target, load, seconds)
          : makeSteadyLoad(target, load, { perSecond: pace, seconds });
      });
      const { perSecond: value, p99Ms } = result;
      const oks = result.oks + 1;
      if (books === "none") {
        return { value, p99Ms, oks };
      }
      const accepted = verifyBooks(last, { ...result, oks });
      if (books === "accepted") {
        return { value, p99Ms, oks, accepted };
      }
      await verifyRows(pool, accepted);
      return { value, p99Ms, oks, accepted, rows: accepted };
    },
  };
}

/** Rows per second by PushBatch, until they are committed. */
export function batchRows(name: string, calls: number): Measurement {
  const warmUpCalls = Math.ceil(calls / 5);
  return {
    name,
    unit: "rows/s",
    run: async (context) => {
      const { pool } = context.database;
      await emptyTable(pool);
      const requests = encodeBatches(calls, false);
      const { last, result: ms } = await during(await service(context), async ({ port }) => {
        await checkCall(port, "connect-json");
        await timeBatches(port, encodeBatches(warmUpCalls, false));
        return timeBatches(port, requests);
      });
      const oks = (warmUpCalls + calls) * CALL_EVENTS + 1;
      const accepted = verifyBooks(last, { oks, cutMax: 0 });
      await verifyRows(pool, accepted);
      return { value: (calls * CALL_EVENTS) / (ms / 1e3), oks, accepted, rows: accepted };
    },
  };
}

/** Rows per second by psql's \copy. */
export function psqlRows(name: string, rows: number): Measurement {
  return {
    name,
    unit: "rows/s",
    run: async ({ database: { pool, url }, directory }) => {
      const path = join(directory, "incoming.copy");
      await writeCopyFile(path, rows);
      await emptyTable(pool);
      const ms = await timePsql(url, path);
      await verifyRows(pool, rows);
      return { value: rows / (ms / 1e3), rows };
    },
  };
}

/** Runs `work` on a program and stops it in order; its log says last what it did. */
export async function during<T>(
  program: BenchProcess,
  work: (program: BenchProcess) => Promise<T>,
): Promise<{ last: LogLine; result: T }> {
  let result: T;
  try {
    result = await work(program);
  } catch (error) {
    // The fault that came first is the one to tell.
    await program.stop().catch(() => undefined);
    throw error;
  }
  return { last: await program.stop(), result };
}

/**
 * What a program says it accepted, by the last line of its log. All of it has been answered OK, but for calls that were
 * cut off at the end of the load, and no event has ended anywhere but in a new row.
 */
export function verifyBooks(books: LogLine, { oks, cutMax }: Pick<LoadResult, "oks" | "cutMax">): number {
  const { msg, accepted, inserted = accepted } = books;
  if (msg !== "stopped") {
    throw new Error(`the log does not end with the books, but: ${JSON.stringify(books)}`);
  }
  if (typeof accepted !== "number" || accepted < oks || accepted > oks + cutMax || inserted !== accepted) {
    throw new Error(`${oks} OKs, up to ${cutMax} calls cut off, but: ${JSON.stringify(books)}`);
  }
  return accepted;
}

/** Resolves when `incoming` has that many rows. */
export async function rowsWritten(database: BenchDatabase, rows: number): Promise<void> {
  const deadline = performance.now() + 30_000;
  while ((await countRows(database.pool)) < rows) {
    if (performance.now() > deadline) {
      throw new Error(`there are no ${rows} rows in the table`);
    }
  }
}
