/**
 * Counts the rows that are older than the counts: those that were there when the migration ran, which it marked with its own
 * transaction's number. They are counted a day at a time; each day and its mark are one transaction.
 */
import type { PoolClient } from "pg";
import { inLongTransaction, type LongQuery } from "../postgres/long-transaction.js";
import { addTo, bucketOf, coarser, KEY_OF_ROW } from "./count-sql.js";
import { readStates } from "./count-state.js";
import { QUARTER_HOUR, TIERS, type Tier } from "./tiers.js";

/** A whole day of rows is read. */
const DAY_TIMEOUT_MS = 60 * 60 * 1000;
/** Days further away than this are counted together with all before, or after. */
const YEARS_LISTED = 20;

/** What was counted. */
export interface BackfilledDay {
  /** Begin and end of the range of stamps, as PostgreSQL writes them. */
  readonly start: string;
  readonly end: string;
  readonly rows: number;
}

/**
 * Lists the days to count, where the migration has left one range for all; safe to repeat. All stamps are in one of the days
 * or in the two ranges around them, whichever partition their rows are in.
 */
export async function listDays(client: PoolClient): Promise<void> {
  await inLongTransaction(client, DAY_TIMEOUT_MS, (query) =>
    query(`WITH everything AS (
        DELETE FROM counts_backfill WHERE start_time = '-infinity' AND end_time = 'infinity' RETURNING 1
      ), days AS (
        SELECT to_date(right(relname, 8), 'YYYYMMDD') AS day FROM pg_inherits JOIN pg_class ON oid = inhrelid
          WHERE inhparent = 'incoming'::regclass AND relname ~ '^incoming_\\d{8}$' AND pg_relation_size(oid) > 0
        UNION SELECT (stamp AT TIME ZONE 'UTC')::date FROM incoming_default
          WHERE tx = (SELECT backfill_tx FROM counts_cluster) AND isfinite(stamp)
      ), bounds AS (
        SELECT coalesce(min(day), current_date) AS first, coalesce(max(day), current_date) AS last FROM days
        WHERE day BETWEEN current_date - ${365 * YEARS_LISTED} AND current_date + 365
      ), starts AS (
        SELECT '-infinity'::timestamptz AS start_time
        UNION ALL SELECT generate_series(first, last + 1, '1 day') AT TIME ZONE 'UTC' FROM bounds
      )
      INSERT INTO counts_backfill (start_time, end_time)
      SELECT start_time, lead(start_time, 1, 'infinity') OVER (ORDER BY start_time) FROM everything, starts`),
  );
}

/**
 * Counts one day that nobody else is counting: the oldest of those that begin before `urgentBefore`, which retention will
 * drop soon, or else the newest. Undefined: none is left, or others are at all of them.
 */
export function backfillNext(
  client: PoolClient,
  urgentBefore: Date | undefined,
): Promise<BackfilledDay | undefined> {
  return inLongTransaction(client, DAY_TIMEOUT_MS, async (query) => {
    const { rows } = await client.query<Omit<BackfilledDay, "rows">>(
      `SELECT start_time::text AS start, end_time::text AS "end" FROM counts_backfill
       ORDER BY start_time < $1 DESC, CASE WHEN start_time < $1 THEN start_time END, start_time DESC
       LIMIT 1 FOR UPDATE SKIP LOCKED`,
      [urgentBefore ?? "-infinity"],
    );
    const [range] = rows;
    if (range === undefined) {
      return undefined;
    }
    const counted = await countRange(client, query, range);
    await client.query("DELETE FROM counts_backfill WHERE start_time = $1", [range.start]);
    return { ...range, rows: counted };
  });
}

async function countRange(
  client: PoolClient,
  query: LongQuery,
  { start, end }: Omit<BackfilledDay, "rows">,
): Promise<number> {
  const states = await readStates(client);
  const keptFrom = TIERS.map((tier) => states.find((state) => state.tier === tier)?.keptFrom ?? "-infinity");
  const { rows } = await query<{ rows: number }>(BACKFILL, [start, end, ...keptFrom]);
  return rows[0]?.rows ?? 0;
}

/** Each tier out of the one before it. A stamp of infinity is in the last range. */
const BACKFILL = `WITH ${TIERS.flatMap((tier: Tier, i) => [
  `new_${tier.name} AS MATERIALIZED (${
    i === 0
      ? `SELECT ${KEY_OF_ROW}, ${bucketOf("stamp", QUARTER_HOUR)} AS bucket, count(*) AS count FROM incoming
         WHERE tx = (SELECT backfill_tx FROM counts_cluster) AND stamp >= $1
           AND (stamp < $2 OR $2::timestamptz = 'infinity') GROUP BY 1, 2, 3, 4`
      : coarser(`new_${TIERS[i - 1]?.name}`, tier)
  })`,
  `into_${tier.name} AS (${addTo(tier, `new_${tier.name}`, `$${3 + i}::timestamptz`)})`,
]).join(", ")}
  SELECT coalesce(sum(count), 0)::float8 AS rows FROM new_day`;
