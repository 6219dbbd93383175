/**
 * The fold: adds what came into `incoming` since the last one to tables of counts, in one transaction. Any number of
 * processes may fold; whatever goes wrong, nothing of the fold has happened.
 */
import type { PoolClient } from "pg";
import { inLongTransaction, type LongQuery } from "../postgres/long-transaction.js";
import { SERIALIZATION_FAILURE, sqlstateOf } from "../postgres/sqlstate.js";
import { addTo, bucketOf, coarser, KEY_OF_ROW } from "./count-sql.js";
import { type FoldState, isNew, readStates, stateParameters, stateValues } from "./count-state.js";
import type { Tier } from "./tiers.js";

/** Rows that were counted, of one day (UTC). */
export interface CountedDay {
  /** As PostgreSQL writes a date, for example `2026-11-28`; `infinity` and `-infinity` are days, too. */
  readonly day: string;
  readonly rows: number;
}

/**
 * How a fold ended:
 * - `folded`: everything that was committed before it is counted
 * - `busy`: another one is folding
 * - `recent`: another one has just done it, `ageMs` ago
 * - `strange`: the states are those of another cluster; see cluster.ts
 */
export type FoldOutcome =
  | { readonly kind: "folded"; readonly days: readonly CountedDay[] }
  | { readonly kind: "busy" | "strange" }
  | { readonly kind: "recent"; readonly ageMs: number };

export interface FoldOptions {
  /** Leave it if the last fold is more recent than this, in milliseconds. Default: 0, never. */
  readonly minAgeMs?: number;
  /** PostgreSQL ends the fold after this time. */
  readonly timeoutMs: number;
  /**
   * Plans once for a connection: with hundreds of partitions, to plan takes longer than to look at them. Not through a pooler,
   * which may give the next transaction another session. Default: false.
   */
  readonly keepsPlan?: boolean;
}

/** Another fold that committed in the middle of ours is no reason to give up; this many in a row are. */
const TRIES_MAX = 5;

/**
 * Folds into tiers that are always folded together, the finest first; the others are made of its counts. Rejects with
 * PostgreSQL's error.
 */
export async function fold(
  client: PoolClient,
  tiers: readonly Tier[],
  options: FoldOptions,
): Promise<FoldOutcome> {
  const { timeoutMs } = options;
  for (let tries = 1; ; tries += 1) {
    try {
      return await inLongTransaction(client, timeoutMs, (query) => foldOnce(client, query, tiers, options), {
        mode: "ISOLATION LEVEL REPEATABLE READ",
        // What was lost in a crash of PostgreSQL is counted again, so the commit need not wait for the disk, nor for a standby.
        settings: { synchronous_commit: "off" },
      });
    } catch (error) {
      if (sqlstateOf(error) !== SERIALIZATION_FAILURE || tries === TRIES_MAX) {
        throw error;
      }
    }
  }
}

async function foldOnce(
  client: PoolClient,
  query: LongQuery,
  tiers: readonly Tier[],
  { minAgeMs = 0, keepsPlan = false }: FoldOptions,
): Promise<FoldOutcome> {
  const states = await readStates(client, tiers, "FOR UPDATE OF counts_state SKIP LOCKED");
  if (states.length < tiers.length) {
    return { kind: "busy" };
  }
  if (!states.every(({ isOfThisCluster }) => isOfThisCluster)) {
    return { kind: "strange" };
  }
  const ageMs = Math.max(...states.map((state) => state.ageMs));
  if (ageMs < minAgeMs) {
    return { kind: "recent", ageMs };
  }
  const days = await countNew(client, query, states, keepsPlan);
  await client.query(
    "UPDATE counts_state SET snapshot = txid_current_snapshot(), fresh_at = now() WHERE tier = ANY($1)",
    [tiers.map(({ name }) => name)],
  );
  return { kind: "folded", days };
}

/** Adds the rows that are new to these states, which must be equal but for their tiers. Leaves the states as they are. */
export async function countNew(
  client: PoolClient,
  query: LongQuery,
  states: readonly FoldState[],
  keepsPlan = false,
): Promise<CountedDay[]> {
  const [finest] = states;
  if (finest === undefined) {
    return [];
  }
  // The plan must read by the index even when it is made without knowing the numbers, or before anybody has counted the rows.
  // To compile it would take longer than to run it.
  await client.query(
    "SET LOCAL plan_cache_mode = force_generic_plan; SET LOCAL enable_seqscan = off; SET LOCAL jit = off",
  );
  const tiers = states.map(({ tier }) => tier);
  const name = `counts-fold-${tiers.map((tier) => tier.name).join("-")}`;
  const values = [...stateValues(finest), ...states.map(({ keptFrom }) => keptFrom)];
  const { rows } = await query<CountedDay>(foldStatement(tiers), values, keepsPlan ? name : undefined);
  return rows;
}

function foldStatement(tiers: readonly Tier[]): string {
  const [finest] = tiers as [Tier];
  const sources = tiers.map(({ name }) => `new_${name}`);
  const parts = tiers.flatMap((tier, i) => {
    const source =
      i === 0
        ? `SELECT ${KEY_OF_ROW}, ${bucketOf("stamp", tier)} AS bucket, count(*) AS count
           FROM incoming WHERE ${isNew(stateParameters(1))} GROUP BY 1, 2, 3, 4`
        : coarser(sources[0] as string, tier);
    return [
      `${sources[i]} AS MATERIALIZED (${source})`,
      `into_${tier.name} AS (${addTo(tier, sources[i] as string, `$${5 + i}::timestamptz`)})`,
    ];
  });
  return `WITH ${parts.join(", ")}
    SELECT (bucket AT TIME ZONE 'UTC')::date::text AS day, sum(count)::float8 AS rows
    FROM new_${finest.name} GROUP BY 1`;
}
