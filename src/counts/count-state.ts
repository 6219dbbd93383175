/** How far the counts are: reads `counts_state` and `counts_cluster`, and words in SQL which rows are counted. */
import type { Pool, PoolClient } from "pg";
import { QUARTER_HOUR, TIERS, type Tier } from "./tiers.js";

/** The state of one tier. Transaction numbers are 64 bits wide, so they are text here. */
export interface FoldState {
  readonly tier: Tier;
  /** A `txid_snapshot`. */
  readonly snapshot: string;
  /** On the scale of `incoming.tx`: all below are counted. */
  readonly countedBelow: string;
  /** On the scale of `incoming.tx`: none from here on is counted. */
  readonly newFrom: string;
  /** What `incoming.tx` is above the number of the transaction. */
  readonly txOffset: string;
  /** A `timestamptz`: buckets before it are not kept. */
  readonly keptFrom: string;
  /** The same in Unix milliseconds; -Infinity: all are kept. */
  readonly keptFromMs: number;
  /** How long ago the counts were complete, in milliseconds, by PostgreSQL's clock. */
  readonly ageMs: number;
  /** False: the numbers are those of another cluster; a dump was restored. */
  readonly isOfThisCluster: boolean;
}

const STATES = `
  SELECT tier, snapshot::text, (txid_snapshot_xmin(snapshot) + tx_offset)::text AS "countedBelow",
    (txid_snapshot_xmax(snapshot) + tx_offset)::text AS "newFrom", tx_offset::text AS "txOffset",
    kept_from::text AS "keptFrom", extract(epoch FROM kept_from)::float8 * 1000 AS "keptFromMs",
    extract(epoch FROM now() - fresh_at)::float8 * 1000 AS "ageMs",
    system_identifier = (SELECT system_identifier FROM pg_control_system()) AS "isOfThisCluster"
  FROM counts_state CROSS JOIN counts_cluster WHERE tier = ANY($1)`;

type StateRow = Omit<FoldState, "tier"> & { readonly tier: string };

/**
 * The states of these tiers, in their order. `lock`: SQL that locks the rows; where it skips locked ones, those are
 * missing.
 */
export async function readStates(
  client: Pool | PoolClient,
  tiers: readonly Tier[] = TIERS,
  lock: "" | "FOR UPDATE OF counts_state" | "FOR UPDATE OF counts_state SKIP LOCKED" = "",
): Promise<FoldState[]> {
  const { rows } = await client.query<StateRow>(`${STATES} ORDER BY tier ${lock}`, [
    tiers.map(({ name }) => name),
  ]);
  return tiers.flatMap((tier) =>
    rows.filter(({ tier: name }) => name === tier.name).map((row) => ({ ...row, tier })),
  );
}

/** Names in SQL for the parts of a state: parameters, or expressions. */
export interface StateSql {
  readonly snapshot: string;
  readonly countedBelow: string;
  readonly newFrom: string;
  readonly txOffset: string;
}

/**
 * SQL that is true for rows that a state has not counted: their transactions were not finished then. The first condition
 * is for the index; most new rows need no look into the snapshot, for they came after everything in it.
 */
export function isNew({ snapshot, countedBelow, newFrom, txOffset }: StateSql): string {
  return `tx >= ${countedBelow}
    AND (tx >= ${newFrom} OR NOT txid_visible_in_snapshot(tx - ${txOffset}, ${snapshot}))`;
}

/** The parameters for {@link isNew} with {@link stateParameters}. */
export function stateValues({ snapshot, countedBelow, newFrom, txOffset }: FoldState): string[] {
  return [snapshot, countedBelow, newFrom, txOffset];
}

/** Four parameters from `$first` on, with their types. */
export function stateParameters(first: number): StateSql {
  return {
    snapshot: `$${first}::txid_snapshot`,
    countedBelow: `$${first + 1}::bigint`,
    newFrom: `$${first + 2}::bigint`,
    txOffset: `$${first + 3}::bigint`,
  };
}

/** What an operator is told of the counts. */
export interface CountsProgress {
  /** How long ago the finest counts were complete, in milliseconds. */
  readonly lagMs: number;
  /** Days of events from before the counts that are not counted yet; null: they have not been listed yet. */
  readonly backfillDays: number | null;
  /** Partitions that have no index for new rows yet; folds wait for it. */
  readonly unindexedPartitions: number;
}

/** Reads the progress; cheap. */
export async function readProgress(client: Pool | PoolClient): Promise<CountsProgress> {
  const { rows } = await client.query<CountsProgress>(
    `SELECT extract(epoch FROM now() - fresh_at)::float8 * 1000 AS "lagMs",
       (SELECT CASE WHEN bool_or(start_time = '-infinity' AND end_time = 'infinity') THEN NULL
          ELSE count(*)::integer END FROM counts_backfill) AS "backfillDays",
       (SELECT count(*)::integer FROM pg_inherits AS partition WHERE partition.inhparent = 'incoming'::regclass
          AND NOT EXISTS (SELECT FROM pg_index JOIN pg_inherits AS part ON part.inhrelid = indexrelid
            WHERE indrelid = partition.inhrelid AND part.inhparent = 'incoming_stamp_tx_idx'::regclass))
         AS "unindexedPartitions"
     FROM counts_state WHERE tier = $1`,
    [QUARTER_HOUR.name],
  );
  const [progress] = rows;
  if (progress === undefined) {
    throw new Error("counts_state has no row for quarter_hour: restore it, or the counts from a backup");
  }
  return progress;
}
