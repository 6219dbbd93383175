/**
 * Notices that the database is a dump that was restored into another PostgreSQL cluster, whose transactions have other
 * numbers, and adapts the counts to it before anything is written.
 *
 * The numbers that a dump brings in `incoming.tx` and `counts_state` mean nothing there. So what was not counted by the old
 * numbers is counted, and an offset is added to the numbers of all new rows, which puts them above all old ones.
 */
import type { PoolClient } from "pg";
import type { Logger } from "pino";
import { inLongTransaction } from "../postgres/long-transaction.js";
import { closePool, createPool, withConnection } from "../postgres/pool.js";
import { type FoldState, readStates } from "./count-state.js";
import { countNew } from "./fold.js";
import { DAY, HOUR, QUARTER_HOUR } from "./tiers.js";

/** Everything that was not counted when the dump was made has to be counted under the lock. */
const TIMEOUT_MS = 60 * 60 * 1000;
const LOCK_TIMEOUT_MS = 5_000;

/** Tiers with equal states, which are counted together. */
const GROUPS = [[QUARTER_HOUR], [HOUR, DAY]];

/**
 * Compares the cluster with the one that the counts belong to, and adapts them if it is another; true when it was. To be called
 * before a process writes its first row: rows that are inserted into a restored dump before have numbers that may pass
 * for counted ones.
 */
export async function adaptToCluster(client: PoolClient): Promise<boolean> {
  // A lone statement, for which no settings matter.
  const states = await readStates(client);
  if (states.every(({ isOfThisCluster }) => isOfThisCluster)) {
    return false;
  }
  return await inLongTransaction(client, TIMEOUT_MS, async (query) => {
    await client.query(`SET LOCAL lock_timeout = ${LOCK_TIMEOUT_MS}`);
    // Nobody inserts until the default has changed, and no two services do this at once.
    await client.query("LOCK TABLE incoming IN ACCESS EXCLUSIVE MODE");
    const lockedStates = await readStates(client, undefined, "FOR UPDATE OF counts_state");
    if (lockedStates.every(({ isOfThisCluster }) => isOfThisCluster)) {
      return false;
    }
    for (const group of GROUPS) {
      await countNew(
        client,
        query,
        group.flatMap((tier) => lockedStates.filter((state) => state.tier === tier)),
      );
    }
    await renumber(client, await highestNumber(client, lockedStates));
    return true;
  });
}

export interface AdaptOptions {
  /** `postgres://` URL. */
  readonly url: string;
  readonly logger: Logger;
  readonly signal: AbortSignal;
}

/** As {@link adaptToCluster}, on a connection for this alone. Rejects with the signal's reason as soon as it aborts. */
export async function adaptCounts({ url, logger, signal }: AdaptOptions): Promise<void> {
  const pool = createPool({ url, logger, settings: { max: 1 } });
  try {
    if (await withConnection(pool, signal, adaptToCluster)) {
      logger.warn("the database was restored into another cluster; the counts are adapted to it");
    }
  } finally {
    await closePool(pool);
  }
}

/** No row has a higher one in `tx`: those that are counted are below the states, and the others are looked at. */
async function highestNumber(client: PoolClient, states: readonly FoldState[]): Promise<string> {
  const { rows } = await client.query<{ highest: string }>(
    `SELECT greatest(backfill_tx, (SELECT max(number) FROM unnest($1::bigint[]) AS number),
       (SELECT max(tx) FROM incoming WHERE tx >= (SELECT min(number) FROM unnest($2::bigint[]) AS number)))::text
       AS highest
     FROM counts_cluster`,
    [states.map(({ newFrom }) => newFrom), states.map(({ countedBelow }) => countedBelow)],
  );
  return rows[0]?.highest ?? "0";
}

/** Puts the rows to come above `highest`, and takes all that are there as counted. */
async function renumber(client: PoolClient, highest: string): Promise<void> {
  const { rows } = await client.query<{ txOffset: string }>(
    `UPDATE counts_cluster SET system_identifier = (SELECT system_identifier FROM pg_control_system()),
       tx_offset = greatest(0, $1::bigint + 1 - txid_snapshot_xmin(txid_current_snapshot()))
     RETURNING tx_offset::text AS "txOffset"`,
    [highest],
  );
  await client.query(
    `ALTER TABLE incoming ALTER COLUMN tx SET DEFAULT txid_current() + ${rows[0]?.txOffset ?? "0"}`,
  );
  await client.query("UPDATE counts_state SET snapshot = txid_current_snapshot(), fresh_at = now()");
}
