/** One look at the database that all parts of an answer come from; it writes nothing. */
import type { PoolClient, QueryResult } from "pg";
import { transactionSettings } from "../postgres/pool.js";
import type { TimeRange } from "./calendar.js";
import { TIERS, type TierState } from "./tiers.js";

/** A read-only transaction, and what the counts were like when it began. */
export interface Snapshot {
  readonly client: PoolClient;
  /** The process of PostgreSQL that the transaction runs in. */
  readonly backendPid: number;
  /** From the finest tier to the coarsest. */
  readonly tiers: readonly TierState[];
  /** Ranges whose counts are lower bounds: events went before they were counted, or are not counted yet. */
  readonly incomplete: readonly TimeRange[];
}

/** Milliseconds; infinities come as such. */
const MS_OF = (column: string) => `extract(epoch FROM ${column})::float8 * 1000`;

/**
 * One process reads even a long list of the largest: its time is worth less than the cores that flushes need. To compile a
 * plan would take longer than to run it.
 */
const SETTINGS =
  "SET LOCAL max_parallel_workers_per_gather = 0; SET LOCAL jit = off; SET LOCAL work_mem = '64MB'";

const begin = (client: PoolClient) => `BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY;
  ${transactionSettings(client)};
  ${SETTINGS};
  SELECT pg_backend_pid() AS pid;
  SELECT tier, ${MS_OF("fresh_at")} AS fresh_at, ${MS_OF("kept_from")} AS kept_from FROM counts_state;
  SELECT ${MS_OF("start_time")} AS start, ${MS_OF("end_time")} AS end FROM counts_incomplete
  UNION ALL SELECT ${MS_OF("start_time")}, ${MS_OF("end_time")} FROM counts_backfill`;

interface StateRow {
  readonly tier: string;
  readonly fresh_at: number;
  readonly kept_from: number;
}

/** What `work` gives in a snapshot that ends with it. */
export async function inSnapshot<T>(
  client: PoolClient,
  work: (snapshot: Snapshot) => Promise<T>,
): Promise<T> {
  try {
    // As one simple query: one journey to the server. pg gives a result for each statement then.
    const results = (await client.query(begin(client))) as unknown as QueryResult[];
    const [backends, states, incomplete] = results.slice(-3) as [
      QueryResult<{ pid: number }>,
      QueryResult<StateRow>,
      QueryResult<TimeRange>,
    ];
    return await work({
      client,
      backendPid: backends.rows[0]?.pid ?? 0,
      tiers: tierStates(states.rows),
      incomplete: incomplete.rows,
    });
  } finally {
    // It has written nothing, so there is nothing to commit. On a connection that broke, there is nothing to end.
    await client.query("ROLLBACK").catch(() => undefined);
  }
}

function tierStates(rows: readonly StateRow[]): TierState[] {
  return TIERS.flatMap((tier) => {
    const row = rows.find(({ tier: name }) => name === tier.name);
    return row === undefined ? [] : [{ tier, keptFrom: row.kept_from, freshAt: Math.floor(row.fresh_at) }];
  });
}

/** Times as PostgreSQL reads them. */
export function timestamps(times: readonly number[]): string[] {
  return times.map((time) => new Date(time).toISOString());
}
