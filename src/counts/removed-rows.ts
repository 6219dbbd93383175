/**
 * What retention removes, as the counts see it: says when rows would go before they are counted, and records, in the
 * transaction that removes them, which times they were of.
 */
import type { PoolClient } from "pg";
import type { RemovalBooks, RemovedPartition, RemovedRow } from "../postgres/retention.js";
import { QUERY_CANCELED, sqlstateOf } from "../postgres/sqlstate.js";
import { bucketOf } from "./count-sql.js";
import { isNew, readStates, stateParameters, stateValues } from "./count-state.js";
import { DAY, HOUR, QUARTER_HOUR, type Tier } from "./tiers.js";

/** How long rows that are not counted may stay beyond their time. Then the service has had every chance to. */
const GRACE_MS = 24 * 60 * 60 * 1000;
/** Inserts wait for as long as we look into a partition that is about to go. */
const LOOK_TIMEOUT_MS = 150;

/** Values 1 to 4 are the state of the finest tier, 5 to 8 that of the coarser ones. */
const NOT_COUNTED = `(${isNew(stateParameters(1))} OR ${isNew(stateParameters(5))})`;

/** SQL that records the buckets of the times in `stamps` (a column `stamp`) in one of the tables of ranges. */
function record(table: "counts_incomplete" | "counts_rows_removed", tier: Tier, stamps: string): string {
  const length = `interval '${tier.unitMs / 1000} seconds'`;
  return `INSERT INTO ${table} (start_time, end_time)
    SELECT min(bucket), max(bucket) + ${length} FROM (
      SELECT bucket, bucket - row_number() OVER (ORDER BY bucket) * ${length} AS run
      FROM (SELECT DISTINCT ${bucketOf("stamp", tier)} AS bucket FROM (${stamps}) AS stamps WHERE isfinite(stamp)) AS buckets
    ) AS runs GROUP BY run ON CONFLICT DO NOTHING`;
}

/** The books of the counts on what is removed from `incoming`. `nowMs` is Unix time in milliseconds. */
export class RemovedRows implements RemovalBooks {
  /** Undefined: it is recorded, and may go. Otherwise why it should stay for now. */
  async dropping(
    client: PoolClient,
    partition: RemovedPartition,
    overdueMs: number,
  ): Promise<string | undefined> {
    const { sqlName, fromMs, toMs } = partition;
    const range = [new Date(fromMs), new Date(toMs)];
    const mayWait = overdueMs < GRACE_MS && (await isInUse(client));
    const outside = `SELECT stamp, tx FROM ${sqlName} WHERE stamp < $1 OR stamp >= $2`;
    const look = await this.#withinMoments(client, async () => {
      const counts = await client.query(
        record("counts_incomplete", QUARTER_HOUR, `SELECT stamp FROM ${sqlName} WHERE ${NOT_COUNTED}`),
        await values(client),
      );
      await client.query(record("counts_rows_removed", DAY, outside), range);
      return counts.rowCount ?? 0;
    });
    if (mayWait && look !== 0) {
      return look === undefined
        ? "it takes too long to look for events that are not counted yet"
        : "it has events that are not counted yet";
    }
    const backfill = await client.query(
      `INSERT INTO counts_incomplete (start_time, end_time)
       SELECT greatest(start_time, $1::timestamptz), least(end_time, $2::timestamptz) FROM counts_backfill
       WHERE start_time < $2 AND end_time > $1
       ON CONFLICT DO NOTHING`,
      range,
    );
    if (mayWait && (backfill.rowCount ?? 0) > 0) {
      return "it has events from before the counts that are not counted yet";
    }
    await client.query(
      `WITH unseen AS (INSERT INTO counts_incomplete (start_time, end_time)
           SELECT $1::timestamptz, $2::timestamptz WHERE $3::boolean ON CONFLICT DO NOTHING),
         listed AS (DELETE FROM counts_backfill WHERE start_time >= $1 AND end_time <= $2)
       INSERT INTO counts_rows_removed (start_time, end_time) VALUES ($1, $2) ON CONFLICT DO NOTHING`,
      [...range, look === undefined],
    );
    return undefined;
  }

  /** Records rows of no partition that have just been deleted. */
  async deleted(client: PoolClient, removed: readonly RemovedRow[]): Promise<void> {
    const gone = "SELECT * FROM unnest($9::timestamptz[], $10::bigint[]) AS gone (stamp, tx)";
    const rows = [removed.map(({ stamp }) => stamp), removed.map(({ tx }) => tx)];
    await client.query(
      record(
        "counts_incomplete",
        QUARTER_HOUR,
        `SELECT stamp FROM (${gone}) AS gone WHERE ${NOT_COUNTED} OR EXISTS (
           SELECT FROM counts_backfill, counts_cluster
           WHERE tx = backfill_tx AND stamp >= start_time AND stamp < end_time)`,
      ),
      [...(await values(client)), ...rows],
    );
    await client.query(
      record("counts_rows_removed", DAY, "SELECT * FROM unnest($1::timestamptz[]) AS gone (stamp)"),
      [rows[0]],
    );
  }

  /** Undefined: it took too long, and nothing of it has happened. */
  async #withinMoments(client: PoolClient, look: () => Promise<number>): Promise<number | undefined> {
    const { rows } = await client.query<{ timeout: string }>(
      "SELECT current_setting('statement_timeout') AS timeout",
    );
    await client.query(
      `SAVEPOINT look; SET LOCAL enable_seqscan = off; SET LOCAL statement_timeout = ${LOOK_TIMEOUT_MS}`,
    );
    try {
      return await look();
    } catch (error) {
      if (sqlstateOf(error) !== QUERY_CANCELED) {
        throw error;
      }
      await client.query("ROLLBACK TO SAVEPOINT look");
      return undefined;
    } finally {
      await client
        .query(`SELECT set_config('statement_timeout', '${rows[0]?.timeout ?? "0"}', true)`)
        .catch(() => undefined);
    }
  }
}

async function values(client: PoolClient): Promise<string[]> {
  return (await readStates(client, [QUARTER_HOUR, HOUR])).flatMap(stateValues);
}

async function isInUse(client: PoolClient): Promise<boolean> {
  const { rows } = await client.query<{ in_use: boolean }>("SELECT in_use FROM counts_cluster");
  return rows[0]?.in_use ?? false;
}
