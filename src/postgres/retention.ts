/**
 * Old days: finds what is older than a given day and removes it without making inserts wait; it never decides how
 * long rows are kept.
 */
import type { Pool, PoolClient } from "pg";
import { messageOf } from "../util/error-message.js";
import {
  DAY_MS,
  dayPartition,
  lowestIdAt,
  PARTITIONED_TABLES,
  type PartitionedTable,
  startOfDay,
} from "./partitions.js";
import { inTransaction } from "./pool.js";
import { DEPENDENT_OBJECTS_STILL_EXIST, LOCK_NOT_AVAILABLE, sqlstateOf } from "./sqlstate.js";

/** A day partition that is old enough to go. */
export interface ExpiredPartition {
  readonly table: PartitionedTable;
  readonly name: string;
  /** The name as SQL needs it: quoted, and with its schema, where it must be. */
  readonly sqlName: string;
  /** PostgreSQL's estimate; null when it has none yet. */
  readonly rows: number | null;
  /** On disk, indexes included. */
  readonly bytes: number;
}

/** Old rows without a partition of their day. */
export interface ExpiredRows {
  /** The default partition that they are in. */
  readonly name: string;
  readonly rows: number;
}

/** What goes. */
export interface Expired {
  readonly partitions: readonly ExpiredPartition[];
  readonly loose: readonly ExpiredRows[];
}

/** A partition that should have gone and did not; it is untouched. */
export interface KeptPartition {
  readonly name: string;
  /** PostgreSQL's words: somebody uses it, or its table, or an object depends on it. */
  readonly reason: string;
}

/** What went, and what has to wait. */
export interface Removal extends Expired {
  readonly kept: readonly KeptPartition[];
}

/** A partition of `incoming` that is about to go, with the times that its ids stand for, in Unix milliseconds. */
export interface RemovedPartition {
  /** For SQL: quoted, and with its schema where that is needed. */
  readonly sqlName: string;
  readonly fromMs: number;
  readonly toMs: number;
}

/** What the books need to know of a row of `incoming`, as PostgreSQL writes it. */
export interface RemovedRow {
  readonly stamp: string;
  readonly tx: string;
}

/** Records what is removed from `incoming`, in the transaction that removes it. */
export interface RemovalBooks {
  /**
   * Called when inserts wait for us already, so it must be quick. Undefined: the partition may go. Otherwise why it has to
   * stay for now, `overdueMs` after its time; nothing of what was recorded stays then.
   */
  dropping(client: PoolClient, partition: RemovedPartition, overdueMs: number): Promise<string | undefined>;
  deleted(client: PoolClient, rows: readonly RemovedRow[]): Promise<void>;
}

/**
 * How long inserts may queue behind us: DROP needs an exclusive lock on the partitioned table. (DETACH CONCURRENTLY,
 * which does not, is refused where there is a default partition, and is not in PostgreSQL 13.)
 */
const LOCK_TIMEOUT_MS = 200;
/** Rows that one statement deletes from a default partition. */
const CHUNK_ROWS = 5_000;

/** The first day that is kept, as its first millisecond: all days that ended `retentionDays` or more ago go. */
export function firstKeptDay(nowMs: number, retentionDays: number): number {
  return startOfDay(nowMs - retentionDays * DAY_MS);
}

/**
 * Our time, `nowMs`, or PostgreSQL's, whichever is earlier, in Unix milliseconds: a clock that is ahead must not drop
 * days before their time.
 */
export async function earlierClock(client: Pool | PoolClient, nowMs: number): Promise<number> {
  const { rows } = await client.query<{ now: number }>(
    "SELECT extract(epoch FROM now())::float8 * 1000 AS now",
  );
  return Math.min(nowMs, rows[0]?.now ?? nowMs);
}

/** What is older than the day that begins at `firstKeptMs`. Takes no lock that an insert could wait for. */
export async function findExpired(client: Pool | PoolClient, firstKeptMs: number): Promise<Expired> {
  const partitions: ExpiredPartition[] = [];
  const loose: ExpiredRows[] = [];
  for (const table of PARTITIONED_TABLES) {
    partitions.push(...(await expiredPartitions(client, table, firstKeptMs)));
    const { rows } = await client.query<{ rows: number }>(
      `SELECT count(*)::float8 AS rows FROM ${table}_default WHERE id < $1`,
      [lowestIdAt(firstKeptMs)],
    );
    loose.push({ name: `${table}_default`, rows: rows[0]?.rows ?? 0 });
  }
  return { partitions, loose: loose.filter(({ rows }) => rows > 0) };
}

export interface RemovalOptions {
  readonly books: RemovalBooks;
  /** Hears of each partition that went. Default: nobody does. */
  readonly onDropped?: (partition: ExpiredPartition) => void;
}

/**
 * Removes what is older than the day that begins at `firstKeptMs`. A table that is in use keeps its partitions for
 * now. Safe while others do the same.
 */
export async function removeExpired(
  client: PoolClient,
  firstKeptMs: number,
  { books, onDropped = () => undefined }: RemovalOptions,
): Promise<Removal> {
  const partitions: ExpiredPartition[] = [];
  const loose: ExpiredRows[] = [];
  const kept: KeptPartition[] = [];
  for (const table of PARTITIONED_TABLES) {
    const expired = await expiredPartitions(client, table, firstKeptMs);
    const refusals = await dropEach(client, expired, {
      books: table === "incoming" ? books : undefined,
      firstKeptMs,
      onDropped: (partition) => {
        partitions.push(partition);
        onDropped(partition);
      },
    });
    kept.push(...refusals);
    loose.push({ name: `${table}_default`, rows: await deleteLoose(client, table, firstKeptMs, books) });
  }
  return { partitions, loose: loose.filter(({ rows }) => rows > 0), kept };
}

interface DropOptions {
  /** undefined: this table has none. */
  readonly books: RemovalBooks | undefined;
  readonly firstKeptMs: number;
  readonly onDropped: (partition: ExpiredPartition) => void;
}

/** The books want the partition to stay; the message says why. */
class NotYetError extends Error {
  override readonly name = "NotYetError";
}

/** Drops these partitions of one table, and returns those that have to stay for now. */
async function dropEach(
  client: PoolClient,
  partitions: readonly ExpiredPartition[],
  { books, firstKeptMs, onDropped }: DropOptions,
): Promise<KeptPartition[]> {
  const kept: KeptPartition[] = [];
  for (const partition of partitions) {
    try {
      if (await drop(client, partition, books, firstKeptMs)) {
        onDropped(partition);
      }
    } catch (error) {
      if (error instanceof NotYetError) {
        kept.push({ name: partition.name, reason: error.message });
        continue;
      }
      const sqlstate = sqlstateOf(error);
      if (sqlstate !== LOCK_NOT_AVAILABLE && sqlstate !== DEPENDENT_OBJECTS_STILL_EXIST) {
        throw error;
      }
      kept.push({ name: partition.name, reason: messageOf(error) });
      if (sqlstate === LOCK_NOT_AVAILABLE) {
        // Each try may hold inserts up a little, so the first refusal will do for the others.
        break;
      }
    }
  }
  return kept;
}

const PARTITIONS = `
  SELECT partition.relname AS name, partition.oid::regclass::text AS "sqlName",
    pg_get_expr(partition.relpartbound, partition.oid) AS bound,
    nullif(partition.reltuples, -1)::float8 AS rows,
    coalesce(pg_total_relation_size(partition.oid), 0)::float8 AS bytes
  FROM pg_inherits JOIN pg_class AS partition ON partition.oid = inhrelid
  WHERE inhparent = $1::regclass AND partition.relkind = 'r'
  ORDER BY partition.relname`;

/** Only partitions that have both the name and the bounds of a day: what somebody else made is none of ours. */
async function expiredPartitions(
  client: Pool | PoolClient,
  table: PartitionedTable,
  firstKeptMs: number,
): Promise<ExpiredPartition[]> {
  const { rows } = await client.query<{
    name: string;
    sqlName: string;
    bound: string;
    rows: number | null;
    bytes: number;
  }>(PARTITIONS, [table]);
  return rows
    .filter(({ name, bound }) => {
      const day = dayOf(name);
      const expected = day === undefined ? undefined : dayPartition(day, table);
      return (
        day !== undefined &&
        day < firstKeptMs &&
        expected !== undefined &&
        name === expected.name &&
        bound === `FOR VALUES FROM ('${expected.from}') TO ('${expected.to}')`
      );
    })
    .map(({ name, sqlName, rows: estimate, bytes }) => ({ table, name, sqlName, rows: estimate, bytes }));
}

/** The first millisecond of the day that a partition is named after; undefined when it is named otherwise. */
function dayOf(name: string): number | undefined {
  const [, year, month, day] = /_(\d{4})(\d{2})(\d{2})$/.exec(name) ?? [];
  return year === undefined ? undefined : Date.UTC(Number(year), Number(month) - 1, Number(day));
}

/**
 * Drops a partition in one transaction; false when it is a partition no more. We wait for the table, for a moment, since
 * under load there is always a COPY that ends soon; once we have it, inserts wait for us, so whoever is at the partitions
 * themselves makes us give up. The parent comes first, as in each query, so that this cannot deadlock.
 */
function drop(
  client: PoolClient,
  { table, name, sqlName }: ExpiredPartition,
  books: RemovalBooks | undefined,
  firstKeptMs: number,
): Promise<boolean> {
  return inTransaction(client, async () => {
    await client.query(`SET LOCAL lock_timeout = ${LOCK_TIMEOUT_MS}`);
    await client.query(`LOCK TABLE ONLY ${table} IN ACCESS EXCLUSIVE MODE`);
    // Another service may have dropped it, or somebody may have detached it to keep it, while we waited.
    const { rowCount } = await client.query(
      "SELECT FROM pg_inherits WHERE inhrelid = to_regclass($1) AND inhparent = $2::regclass",
      [sqlName, table],
    );
    if (rowCount === 0) {
      return false;
    }
    await client.query(`LOCK TABLE ${table}_default, ${sqlName} IN ACCESS EXCLUSIVE MODE NOWAIT`);
    const fromMs = dayOf(name) ?? firstKeptMs;
    const partition = { sqlName, fromMs, toMs: fromMs + DAY_MS };
    const reason = await books?.dropping(client, partition, firstKeptMs - partition.toMs);
    if (reason !== undefined) {
      throw new NotYetError(reason);
    }
    await client.query(`DROP TABLE ${sqlName}`);
    return true;
  });
}

/**
 * Deletes old rows of the default partition, some at a time so that none is locked for long; returns how many. Rows
 * that another service is deleting are left to it.
 */
async function deleteLoose(
  client: PoolClient,
  table: PartitionedTable,
  firstKeptMs: number,
  books: RemovalBooks,
): Promise<number> {
  const statement = `DELETE FROM ${table}_default WHERE id IN
    (SELECT id FROM ${table}_default WHERE id < $1 ORDER BY id LIMIT ${CHUNK_ROWS} FOR UPDATE SKIP LOCKED)`;
  for (let total = 0; ; ) {
    const deleted = await inTransaction(client, async () => {
      if (table !== "incoming") {
        return (await client.query(statement, [lowestIdAt(firstKeptMs)])).rowCount ?? 0;
      }
      const { rows } = await client.query<RemovedRow>(`${statement} RETURNING stamp::text, tx::text`, [
        lowestIdAt(firstKeptMs),
      ]);
      if (rows.length > 0) {
        await books.deleted(client, rows);
      }
      return rows.length;
    });
    total += deleted;
    if (deleted < CHUNK_ROWS) {
      return total;
    }
  }
}
