/** Makes the counts of whole days anew from the rows, while events come in. It leaves days alone whose rows are gone. */
import type { PoolClient } from "pg";
import { inLongTransaction, type LongQuery } from "../postgres/long-transaction.js";
import { SERIALIZATION_FAILURE, sqlstateOf } from "../postgres/sqlstate.js";
import { readStates } from "./count-state.js";
import { type CountedDay, listCountedDays, type TimeRange } from "./days.js";
import { comparisonParts, comparisonValues, tiersWith } from "./differences.js";
import type { Tier } from "./tiers.js";
import { isComparable } from "./verify.js";

export interface RebuiltDay extends CountedDay {
  /** Counts that were wrong; undefined: the day was left alone. */
  readonly corrected?: number;
}

/** A whole day of rows is read. */
const DAY_TIMEOUT_MS = 60 * 60 * 1000;
/** Folds and late events of the same day may come between. */
const TRIES_MAX = 10;

/**
 * Rebuilds the days of a range, the oldest first, each in a transaction. Folds wait for it; pushes do not. Rows that are not
 * counted yet stay so, and are left to the next fold. Rejects with PostgreSQL's error; the days before are rebuilt then.
 */
export async function rebuild(
  client: PoolClient,
  range: TimeRange,
  onDay: (day: RebuiltDay) => void,
): Promise<void> {
  const days = await inLongTransaction(client, DAY_TIMEOUT_MS, (query) =>
    listCountedDays(client, query, range),
  );
  for (const { start } of days) {
    const rebuilt = await rebuildDay(client, start);
    if (rebuilt !== undefined) {
      onDay(rebuilt);
    }
  }
}

async function rebuildDay(client: PoolClient, start: string): Promise<RebuiltDay | undefined> {
  for (let tries = 1; ; tries += 1) {
    try {
      return await inLongTransaction(client, DAY_TIMEOUT_MS, (query) => rebuildOnce(client, query, start), {
        mode: "ISOLATION LEVEL REPEATABLE READ",
      });
    } catch (error) {
      if (sqlstateOf(error) !== SERIALIZATION_FAILURE || tries === TRIES_MAX) {
        throw error;
      }
    }
  }
}

async function rebuildOnce(
  client: PoolClient,
  query: LongQuery,
  start: string,
): Promise<RebuiltDay | undefined> {
  // Before anything else is read: a wait for a fold makes the snapshot too old, and then it is tried again.
  const states = await readStates(client, undefined, "FOR UPDATE OF counts_state");
  const dayStart = new Date(start);
  const [day] = await listCountedDays(client, query, {
    from: dayStart,
    to: new Date(dayStart.getTime() + 1),
  });
  if (day === undefined || !isComparable(day)) {
    return day;
  }
  // Old rows of the day are counted with the others, if the day is one that the backfill counts by itself.
  const { rowCount } = await client.query(
    "DELETE FROM counts_backfill WHERE start_time = $1 AND end_time = $1::timestamptz + interval '24 hours'",
    [start],
  );
  const isBackfilled = day.kind === "whole" || rowCount === 1;
  const tiers = tiersWith(start, states);
  const { rows } = await query<{ corrected: number }>(
    correction(tiers),
    comparisonValues({ day: start, states, isBackfilled }),
  );
  return { ...day, corrected: rows[0]?.corrected ?? 0 };
}

function correction(tiers: readonly Tier[]): string {
  const parts = tiers.flatMap(({ name, table }) => [
    `removed_${name} AS (DELETE FROM ${table} AS counts USING differences AS wrong
      WHERE wrong.tier = '${name}' AND wrong.rows = 0 AND counts.property = wrong.property
        AND counts.section = wrong.section AND counts.item = wrong.item AND counts.bucket = wrong.bucket)`,
    `set_${name} AS (INSERT INTO ${table} AS counts (property, section, item, bucket, count)
      SELECT property, section, item, bucket, rows FROM differences WHERE tier = '${name}' AND rows > 0
      ORDER BY property, section, item, bucket
      ON CONFLICT (property, section, item, bucket) DO UPDATE SET count = excluded.count)`,
  ]);
  return `WITH ${comparisonParts(tiers)}, ${parts.join(", ")} SELECT count(*)::float8 AS corrected FROM differences`;
}
