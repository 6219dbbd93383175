/** Looks at the service's tables as an operator would; it changes nothing. */
import type { Pool, PoolClient } from "pg";
import type { Clock } from "../util/clock.js";
import { readClockOffset } from "./clock-witness.js";
import { DAY_MS, dayPartition, PARTITIONED_TABLES, partitionNames } from "./partitions.js";
import { withConnection } from "./pool.js";

/** Counting more would keep the one who asks waiting; a count that has reached this stands for "this or more". */
export const COUNT_MAX = 100_000;

/** What the tables look like. */
export interface TableState {
  /** Days after today for which `incoming` has partitions, without a gap. */
  readonly daysAhead: number;
  /** Rows without a partition of their day, in all default partitions, counted up to {@link COUNT_MAX} in each. */
  readonly rowsInDefault: number;
  /** Rows in `incoming_dead`, counted up to {@link COUNT_MAX}. */
  readonly deadLetters: number;
  /** How far PostgreSQL's clock is ahead of this machine's, in milliseconds; less than 0: it is behind. */
  readonly clockAheadMs: number;
}

/** Rejects with PostgreSQL's error, or with the signal's reason as soon as it aborts. */
export function readTableState(pool: Pool, clock: Clock, signal: AbortSignal): Promise<TableState> {
  return withConnection(pool, signal, async (client) => {
    const clockAheadMs = await readClockOffset(client, clock);
    const nowMs = clock.now();
    const names = await partitionNames(client, "incoming");
    let daysAhead = 0;
    while (names.has(dayPartition(nowMs + (daysAhead + 1) * DAY_MS).name)) {
      daysAhead += 1;
    }
    let rowsInDefault = 0;
    for (const table of PARTITIONED_TABLES) {
      rowsInDefault += await countRows(client, `${table}_default`);
    }
    return { daysAhead, rowsInDefault, deadLetters: await countRows(client, "incoming_dead"), clockAheadMs };
  });
}

async function countRows(client: PoolClient, table: string): Promise<number> {
  const { rows } = await client.query<{ count: number }>(
    `SELECT count(*)::integer AS count FROM (SELECT FROM ${table} LIMIT ${COUNT_MAX}) AS counted`,
  );
  return rows[0]?.count ?? 0;
}
