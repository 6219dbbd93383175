/** Lists the days that have rows or counts, and says which of them can be compared; it changes nothing. */
import type { PoolClient } from "pg";
import type { LongQuery } from "../postgres/long-transaction.js";
import { TIERS } from "./tiers.js";

/**
 * A day (UTC), and whether its counts can be compared with its rows:
 * - `whole`: the rows are all there
 * - `not_backfilled`: they are, but those from before the counts are not counted yet
 * - `removed`: retention removed rows of it, or somebody dropped its partition; only the counts know them
 * - `incomplete`: rows went before they were counted
 */
export interface CountedDay {
  /** Midnight, in ISO 8601. */
  readonly start: string;
  readonly kind: "whole" | "not_backfilled" | "removed" | "incomplete";
}

/** A range of time, half open, widened to whole days (UTC). Absent ends are open. */
export interface TimeRange {
  readonly from?: Date | undefined;
  readonly to?: Date | undefined;
}

/**
 * The days in a range, the oldest first. Rows are mostly in the partition of their day; those that somebody inserted
 * elsewhere are found by the index.
 */
export async function listCountedDays(
  client: PoolClient,
  query: LongQuery,
  { from, to }: TimeRange,
): Promise<CountedDay[]> {
  const { rows: partitions } = await client.query<{ name: string; day: string | null }>(
    `SELECT oid::regclass::text AS name, substring(relname FROM '^incoming_(\\d{8})$') AS day
     FROM pg_inherits JOIN pg_class ON oid = inhrelid WHERE inhparent = 'incoming'::regclass`,
  );
  const strays = partitions.map(({ name, day }) =>
    day === null
      ? `SELECT stamp FROM ${name}`
      : `SELECT stamp FROM ${name} WHERE stamp < ${midnight(day)} OR stamp >= ${midnight(day)} + interval '24 hours'`,
  );
  const days = partitions.flatMap(({ day }) => (day === null ? [] : [day]));
  const { rows } = await query<CountedDay>(daysStatement(strays), [
    from ?? "-infinity",
    to ?? "infinity",
    days,
  ]);
  return rows;
}

function midnight(day: string): string {
  return `(to_date('${day}', 'YYYYMMDD')::timestamp AT TIME ZONE 'UTC')`;
}

const MIDNIGHT_OF = (time: string) => `date_trunc('day', ${time} AT TIME ZONE 'UTC') AT TIME ZONE 'UTC'`;

/** `$1` and `$2` are the range, `$3` the days that have a partition. A tier may know a day that the others do not, yet. */
function daysStatement(strays: readonly string[]): string {
  return `WITH partitions AS (
      SELECT to_date(day, 'YYYYMMDD')::timestamp AT TIME ZONE 'UTC' AS start FROM unnest($3::text[]) AS day
    ), strays AS (
      SELECT DISTINCT ${MIDNIGHT_OF("stamp")} AS start FROM (${strays.join(" UNION ALL ")}) AS rows WHERE isfinite(stamp)
    ), counts AS (
      ${TIERS.map(({ table }) => `SELECT ${MIDNIGHT_OF("bucket")} AS start FROM ${table} WHERE item = 0 AND isfinite(bucket)`).join(" UNION ")}
    ), days AS (
      SELECT start, start + interval '24 hours' AS finish FROM
        (SELECT start FROM counts UNION SELECT start FROM strays UNION SELECT start FROM partitions) AS all_days
      WHERE start >= ${MIDNIGHT_OF("$1::timestamptz")} AND start < $2
    )
    SELECT to_char(start AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"') AS start,
      CASE
        WHEN EXISTS (SELECT FROM counts_rows_removed WHERE start_time < finish AND end_time > start) THEN 'removed'
        WHEN start NOT IN (SELECT start FROM partitions) AND start NOT IN (SELECT start FROM strays) THEN 'removed'
        WHEN EXISTS (SELECT FROM counts_incomplete WHERE start_time < finish AND end_time > start) THEN 'incomplete'
        WHEN EXISTS (SELECT FROM counts_backfill WHERE start_time < finish AND end_time > start) THEN 'not_backfilled'
        ELSE 'whole' END AS kind
    FROM days WHERE start IN (SELECT start FROM counts) OR start IN (SELECT start FROM strays)
      OR EXISTS (SELECT FROM incoming WHERE stamp >= start AND stamp < finish) ORDER BY start`;
}
