/**
 * The day partitions of `incoming` and `incoming_dead`: names them, computes their bounds and makes those that are
 * missing; it never drops one (retention.ts does).
 */
import type { Pool, PoolClient } from "pg";
import { messageOf } from "../util/error-message.js";
import { inTransaction, withConnection } from "./pool.js";
import { classifyFault, QUERY_CANCELED, sqlstateOf } from "./sqlstate.js";

export const DAY_MS = 24 * 60 * 60 * 1000;

/** The tables that are partitioned by the day in their ids. Each has a default partition, named `…_default`. */
export const PARTITIONED_TABLES = ["incoming", "incoming_dead"] as const;
export type PartitionedTable = (typeof PARTITIONED_TABLES)[number];

/** A day of a table, in UTC. */
export interface DayPartition {
  /** Name of the table, for example `incoming_20261124`. */
  readonly name: string;
  /** First id of the day, a UUID in its 36-character form. */
  readonly from: string;
  /** First id of the next day. */
  readonly to: string;
}

/** The partition of the day in which `timeMs` (Unix milliseconds) lies. */
export function dayPartition(timeMs: number, table: PartitionedTable = "incoming"): DayPartition {
  const dayStartMs = startOfDay(timeMs);
  return {
    name: `${table}_${compactDate(dayStartMs)}`,
    from: lowestIdAt(dayStartMs),
    to: lowestIdAt(dayStartMs + DAY_MS),
  };
}

/** The names of day partitions for people, a run of days as its first and last: `incoming_20261124 to incoming_20261201`. */
export function describePartitions(names: readonly string[]): string[] {
  const runs: { first: string; last: string }[] = [];
  for (const name of [...names].sort()) {
    const run = runs.at(-1);
    if (run !== undefined && isNextDay(run.last, name)) {
      run.last = name;
    } else {
      runs.push({ first: name, last: name });
    }
  }
  return runs.map(({ first, last }) => (first === last ? first : `${first} to ${last}`));
}

function isNextDay(name: string, next: string): boolean {
  const [, table, ...date] = /^(.*)_(\d{4})(\d\d)(\d\d)$/.exec(name) ?? [];
  const [year = Number.NaN, month = 0, day = 0] = date.map(Number);
  return table !== undefined && next === `${table}_${compactDate(Date.UTC(year, month - 1, day) + DAY_MS)}`;
}

/** The day of a time, as `20261124`. */
function compactDate(timeMs: number): string {
  return new Date(timeMs).toISOString().slice(0, 10).replaceAll("-", "");
}

/** The first millisecond of the day (UTC) in which `timeMs` lies. */
export function startOfDay(timeMs: number): number {
  return Math.floor(timeMs / DAY_MS) * DAY_MS;
}

/** The lowest UUID with the time `timeMs` in its first 48 bits, lower than each UUIDv7 of that millisecond. */
export function lowestIdAt(timeMs: number): string {
  const hex = timeMs.toString(16).padStart(12, "0");
  return `${hex.slice(0, 8)}-${hex.slice(8)}-0000-0000-000000000000`;
}

/** The lock on the table must not make the flusher queue behind us for long. */
const LOCK_TIMEOUT_MS = 2_000;
/** Moving more would keep the flusher waiting for longer than that, and millions could not be moved within a statement's time. */
const MOVED_ROWS_MAX = 100_000;

/** Days before and after the one that a range is about. */
export interface DayRange {
  readonly daysBehind: number;
  readonly daysAhead: number;
}

/** What became of the partitions that were missing, by their names. */
export interface CreatedPartitions {
  readonly made: readonly string[];
  /** There is a table with the name that is no partition: somebody detached it, and it is left alone. */
  readonly detached: readonly string[];
  /** Too many rows of the day are in the default partition: they stay there, and so do those to come. */
  readonly crowded: readonly string[];
  /** PostgreSQL refused to make them, or to move a row into them. */
  readonly refused: readonly RefusedPartition[];
}

/** A partition that could not be made, for a reason that is about its day alone. */
export interface RefusedPartition {
  readonly name: string;
  /** PostgreSQL's words. */
  readonly reason: string;
}

/**
 * Makes the partitions of both tables for the days around `nowMs`, where missing. Rows that lie in the default
 * partition for want of theirs are moved over, up to 100,000 of a day. Rejects with the signal's reason as soon as it
 * aborts. Default: never.
 */
export function createPartitions(
  pool: Pool,
  nowMs: number,
  range: DayRange,
  signal: AbortSignal = new AbortController().signal,
): Promise<CreatedPartitions> {
  return withConnection(pool, signal, async (client) => {
    const states: [string, PartitionState][] = [];
    const refused: RefusedPartition[] = [];
    for (const table of PARTITIONED_TABLES) {
      for (const partition of await missingPartitions(client, table, nowMs, range)) {
        try {
          states.push([partition.name, await createPartition(client, table, partition)]);
        } catch (error) {
          refused.push({ name: partition.name, reason: refusalOf(error) });
        }
      }
    }
    const those = (wanted: PartitionState) =>
      states.filter(([, state]) => state === wanted).map(([name]) => name);
    return { made: those("made"), detached: those("detached"), crowded: those("crowded"), refused };
  });
}

/**
 * What PostgreSQL says against one day, such as that a constraint refuses a row that would have to be moved. A fault of
 * the connection, of the rights or of the lock on the table says the same of each day, and is thrown.
 */
function refusalOf(error: unknown): string {
  const isOfTheDay = classifyFault(error) !== "schema" && classifyFault(error) !== "transient";
  const isTooSlow = sqlstateOf(error) === QUERY_CANCELED;
  if (sqlstateOf(error) === undefined || !(isOfTheDay || isTooSlow)) {
    throw error;
  }
  return messageOf(error);
}

/** `attached`: another service made it in the same moment. */
type PartitionState = "made" | "attached" | "detached" | "crowded";

async function missingPartitions(
  client: PoolClient,
  table: PartitionedTable,
  nowMs: number,
  { daysBehind, daysAhead }: DayRange,
): Promise<DayPartition[]> {
  const wanted: DayPartition[] = [];
  for (let day = -daysBehind; day <= daysAhead; day++) {
    wanted.push(dayPartition(nowMs + day * DAY_MS, table));
  }
  const existing = await partitionNames(client, table);
  return wanted.filter(({ name }) => !existing.has(name));
}

/** The names of all partitions of a table, without their schema. */
export async function partitionNames(pool: Pool | PoolClient, table: PartitionedTable): Promise<Set<string>> {
  const { rows } = await pool.query<{ name: string }>(
    "SELECT relname AS name FROM pg_inherits JOIN pg_class ON pg_class.oid = inhrelid WHERE inhparent = $1::regclass",
    [table],
  );
  return new Set(rows.map(({ name }) => name));
}

/**
 * Made on the side, filled from the default partition, then attached: PostgreSQL refuses a partition whose rows
 * lie in the default one. The locks come first, the strongest at once, so that no row slips in between and no lock
 * is raised later, which could deadlock. An identity is the whole table's: the partition gets it when it is attached.
 */
function createPartition(
  client: PoolClient,
  table: PartitionedTable,
  { name, from, to }: DayPartition,
): Promise<PartitionState> {
  return inTransaction(client, async () => {
    await client.query(`SET LOCAL lock_timeout = ${LOCK_TIMEOUT_MS}`);
    await client.query(`LOCK TABLE ONLY ${table} IN SHARE ROW EXCLUSIVE MODE`);
    await client.query(`LOCK TABLE ${table}_default IN ACCESS EXCLUSIVE MODE`);
    // Another service may have made it while we waited for the lock.
    const existing = await stateOf(client, table, name);
    if (existing !== undefined) {
      return existing;
    }
    const ofTheDay = `FROM ${table}_default WHERE id >= '${from}' AND id < '${to}'`;
    const { rowCount } = await client.query(`SELECT ${ofTheDay} OFFSET ${MOVED_ROWS_MAX} LIMIT 1`);
    if (rowCount !== 0) {
      return "crowded";
    }
    await client.query(`CREATE TABLE ${name} (LIKE ${table} INCLUDING ALL EXCLUDING IDENTITY)`);
    const columns = await writableColumns(client, name);
    await client.query(
      `WITH moved AS (DELETE ${ofTheDay} RETURNING ${columns}) INSERT INTO ${name} (${columns}) SELECT * FROM moved`,
    );
    await client.query(
      `ALTER TABLE ${table} ATTACH PARTITION ${name} FOR VALUES FROM ('${from}') TO ('${to}')`,
    );
    return "made";
  });
}

/** A table's columns, for SQL, without those that PostgreSQL computes itself: an operator may have added some. */
async function writableColumns(client: PoolClient, table: string): Promise<string> {
  const { rows } = await client.query<{ columns: string }>(
    `SELECT string_agg(quote_ident(attname), ', ') AS columns FROM pg_attribute
     WHERE attrelid = $1::regclass AND attnum > 0 AND NOT attisdropped AND attgenerated = ''`,
    [table],
  );
  return rows[0]?.columns ?? "";
}

/** Undefined: there is no table with this name. */
async function stateOf(
  client: PoolClient,
  table: PartitionedTable,
  name: string,
): Promise<"attached" | "detached" | undefined> {
  const { rows } = await client.query<{ attached: boolean }>(
    `SELECT EXISTS (SELECT FROM pg_inherits WHERE inhrelid = oid AND inhparent = $2::regclass) AS attached
     FROM pg_class WHERE oid = to_regclass($1)`,
    [name, table],
  );
  return rows[0] && (rows[0].attached ? "attached" : "detached");
}
