/** Compares the counts with the rows, key by key, in one snapshot of the database; it changes nothing. */
import type { PoolClient } from "pg";
import { inLongTransaction, type LongQuery } from "../postgres/long-transaction.js";
import { type FoldState, readStates } from "./count-state.js";
import { type CountedDay, listCountedDays, type TimeRange } from "./days.js";
import { comparisonParts, comparisonValues, FINDINGS, type Findings, tiersWith } from "./differences.js";

/** What became of one day. Days that cannot be compared have no findings. */
export interface VerifiedDay extends CountedDay {
  /** The tiers that have the day. */
  readonly tiers: readonly string[];
  readonly findings?: Findings;
}

/** A whole day of rows is read. */
const DAY_TIMEOUT_MS = 60 * 60 * 1000;

/**
 * Verifies the days of a range, the oldest first. A day with a difference does not end it. Rows that a tier has not
 * counted yet are no difference. Rejects with PostgreSQL's error.
 */
export async function verify(
  client: PoolClient,
  range: TimeRange,
  onDay: (day: VerifiedDay) => void,
): Promise<{ readonly isEqual: boolean }> {
  let isEqual = true;
  const work = async (query: LongQuery) => {
    const states = await readStates(client);
    for (const day of await listCountedDays(client, query, range)) {
      const verified = await verifyDay(query, day, states);
      isEqual &&= (verified.findings?.differences ?? 0) === 0;
      onDay(verified);
    }
  };
  await inLongTransaction(client, DAY_TIMEOUT_MS, work, {
    mode: "ISOLATION LEVEL REPEATABLE READ READ ONLY",
  });
  return { isEqual };
}

async function verifyDay(
  query: LongQuery,
  day: CountedDay,
  states: readonly FoldState[],
): Promise<VerifiedDay> {
  const tiers = tiersWith(day.start, states);
  const verified = { ...day, tiers: tiers.map(({ name }) => name) };
  if (!isComparable(day)) {
    return verified;
  }
  const { rows } = await query<Findings>(
    `WITH ${comparisonParts(tiers)} ${FINDINGS}`,
    comparisonValues({ day: day.start, states, isBackfilled: day.kind === "whole" }),
  );
  const [findings] = rows;
  return { ...verified, ...(findings && { findings }) };
}

/** Whether the rows of the day tell what its counts should be. */
export function isComparable({ kind }: CountedDay): boolean {
  return kind === "whole" || kind === "not_backfilled";
}
