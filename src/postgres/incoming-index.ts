/**
 * The index of `incoming` by which new rows are found, `brin (stamp, tx)`: makes it for partitions that have none, and
 * keeps it up with what is inserted. It holds no lock that an insert waits for longer than a moment.
 */
import type { Pool, PoolClient } from "pg";
import { dayPartition } from "./partitions.js";
import { inTransaction } from "./pool.js";
import { DUPLICATE_TABLE, INSUFFICIENT_PRIVILEGE, LOCK_NOT_AVAILABLE, sqlstateOf } from "./sqlstate.js";

const INDEX = "incoming_stamp_tx_idx";
/** What it replaces; only old databases have it. */
const OLD_INDEX = "incoming_stamp_idx";
/** How long inserts may queue behind us. */
const LOCK_TIMEOUT_MS = 200;
/** A whole partition is read. */
const BUILD_TIMEOUT_MS = 6 * 60 * 60 * 1000;

/**
 * - `complete`: all partitions have the index
 * - `built`: one more has
 * - `busy`: somebody is building it, or uses the table: try again later
 */
export type IndexProgress =
  | { readonly kind: "complete" | "busy" }
  | { readonly kind: "built"; readonly partition: string };

/** Whether all partitions have the index; until then a search for new rows reads the others whole. */
export async function isIndexComplete(client: Pool | PoolClient): Promise<boolean> {
  const { rows } = await client.query<{ complete: boolean }>(
    `SELECT indisvalid AND to_regclass('${OLD_INDEX}') IS NULL AS complete FROM pg_index
     WHERE indexrelid = to_regclass('${INDEX}')`,
  );
  return rows[0]?.complete ?? false;
}

/** The newest partition that lacks the index, and what is left of an attempt to build it. */
const NEXT = `
  SELECT partition.oid::regclass::text AS partition, partition.relname || '_stamp_tx_idx' AS index,
    (SELECT indisvalid FROM pg_index JOIN pg_class AS index ON index.oid = indexrelid
      WHERE indrelid = partition.oid AND index.relname = partition.relname || '_stamp_tx_idx') AS "isValid",
    EXISTS (SELECT FROM pg_stat_progress_create_index WHERE relid = partition.oid) AS "isBuilding"
  FROM pg_inherits JOIN pg_class AS partition ON partition.oid = inhrelid
  WHERE inhparent = 'incoming'::regclass AND NOT EXISTS (
    SELECT FROM pg_index JOIN pg_inherits AS part ON part.inhrelid = indexrelid
    WHERE indrelid = partition.oid AND part.inhparent = '${INDEX}'::regclass)
  ORDER BY partition.relname = 'incoming_default', partition.relname DESC LIMIT 1`;

interface NextPartition {
  readonly partition: string;
  readonly index: string;
  /** null: there is none yet. false: its building was interrupted, or goes on. */
  readonly isValid: boolean | null;
  readonly isBuilding: boolean;
}

/**
 * Makes the index for one partition, the newest first, without a lock; when all have it, drops the one that it replaces.
 * Rejects with PostgreSQL's error, for example when the role does not own the table.
 */
export async function buildNextIndex(client: PoolClient): Promise<IndexProgress> {
  if (await isIndexComplete(client)) {
    return { kind: "complete" };
  }
  try {
    const { rows } = await client.query<NextPartition>(NEXT);
    const [next] = rows;
    if (next === undefined) {
      await briefly(client, `DROP INDEX IF EXISTS ${OLD_INDEX}`);
      return { kind: "complete" };
    }
    return (await build(client, next)) ? { kind: "built", partition: next.partition } : { kind: "busy" };
  } catch (error) {
    const sqlstate = sqlstateOf(error);
    // Another service is as far as we are.
    if (sqlstate === LOCK_NOT_AVAILABLE || sqlstate === DUPLICATE_TABLE) {
      return { kind: "busy" };
    }
    throw error;
  }
}

/** Waits for its locks for a moment only, since inserts wait behind it. */
function briefly(client: PoolClient, statement: string): Promise<unknown> {
  return inTransaction(client, () => client.query(statement), {
    settings: { lock_timeout: LOCK_TIMEOUT_MS },
  });
}

async function build(
  client: PoolClient,
  { partition, index, isValid, isBuilding }: NextPartition,
): Promise<boolean> {
  if (isBuilding) {
    return false;
  }
  // These wait for transactions that were there before, without keeping anybody waiting.
  if (isValid === false) {
    await client.query(`DROP INDEX CONCURRENTLY IF EXISTS ${index}`);
  }
  if (isValid !== true) {
    // The types of `pg` do not know that a statement may have a time of its own.
    const text = `CREATE INDEX CONCURRENTLY ${index} ON ${partition} USING brin (stamp, tx)`;
    const statement = { text, query_timeout: BUILD_TIMEOUT_MS };
    await client.query(statement);
  }
  await briefly(client, `ALTER INDEX ${INDEX} ATTACH PARTITION ${index}`);
  return true;
}

/**
 * BRIN knows nothing of rows that were inserted since it was last told to look, so a search reads them all: this tells it,
 * for the partition of a day (Unix milliseconds). Returns false when the role may not, since it does not own the table;
 * autovacuum does it then.
 */
export async function summarise(client: PoolClient, dayMs: number | undefined): Promise<boolean> {
  const day = dayMs === undefined ? "incoming_default" : dayPartition(dayMs).name;
  try {
    await client.query(
      `SELECT brin_summarize_new_values(indexrelid) FROM pg_index
         JOIN pg_class AS index ON index.oid = indexrelid JOIN pg_am ON pg_am.oid = relam
       WHERE indrelid = coalesce(to_regclass($1), to_regclass('incoming_default')) AND amname = 'brin' AND indisvalid`,
      [day],
    );
    return true;
  } catch (error) {
    if (sqlstateOf(error) === INSUFFICIENT_PRIVILEGE) {
      return false;
    }
    throw error;
  }
}
