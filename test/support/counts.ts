/** Databases with counts, and a port that tells them; it pushes nothing. */
import type { Pool } from "pg";
import { CountQueries, createQueryPool } from "../../src/counts/count-queries.js";
import { fold } from "../../src/counts/fold.js";
import { DAY, HOUR, QUARTER_HOUR } from "../../src/counts/tiers.js";
import { createCountsMethods } from "../../src/rpc/counts-methods.js";
import type { UnaryInterceptor } from "../../src/rpc/unary-method.js";
import { type LanePort, openLanePort } from "./lane-pair.js";
import { silent } from "./rpc-port.js";

const FOLD_TIMEOUT_MS = 60_000;

/** An event, as far as it is counted. */
export interface CountedEvent {
  readonly property: string;
  readonly section: number;
  readonly item: number;
  /** Unix milliseconds. */
  readonly at: number;
}

/** Writes rows of events, which are not counted by that. */
export async function insertEvents(pool: Pool, events: readonly CountedEvent[]): Promise<void> {
  await pool.query(
    `INSERT INTO incoming (id, property, property_section, property_id, stamp)
     SELECT gen_random_uuid(), property, section, item, to_timestamp(at / 1000.0)
     FROM unnest($1::text[], $2::bigint[], $3::bigint[], $4::bigint[]) AS events (property, section, item, at)`,
    [
      events.map(({ property }) => property),
      events.map(({ section }) => section),
      events.map(({ item }) => item),
      events.map(({ at }) => at),
    ],
  );
}

/** Folds new rows into all tiers as the Aggregator does, and says that they are fresh at `now` (Unix milliseconds). */
export async function countRows(pool: Pool, now: number): Promise<void> {
  const client = await pool.connect();
  try {
    for (const tiers of [[QUARTER_HOUR], [HOUR, DAY]]) {
      const { kind } = await fold(client, tiers, { timeoutMs: FOLD_TIMEOUT_MS });
      if (kind !== "folded") {
        throw new Error(`nothing was folded: ${kind}`);
      }
    }
    await client.query("UPDATE counts_state SET fresh_at = to_timestamp($1 / 1000.0)", [now]);
  } finally {
    client.release();
  }
}

/**
 * Drops a tier's buckets before a time (Unix milliseconds; -Infinity: none), as its retention does, and leaves a wrong one
 * there that nobody may read.
 */
export async function dropBuckets(pool: Pool, tier: "quarter_hour" | "hour", before: number): Promise<void> {
  if (!Number.isFinite(before)) {
    return;
  }
  const keptFrom = new Date(before).toISOString();
  await pool.query(`DELETE FROM counts_${tier} WHERE bucket < $1`, [keptFrom]);
  await pool.query("UPDATE counts_state SET kept_from = $1 WHERE tier = $2", [keptFrom, tier]);
  await pool.query(
    `INSERT INTO counts_${tier} SELECT DISTINCT property, section, item, $1::timestamptz - interval '1 day', 1000000
     FROM counts_day`,
    [keptFrom],
  );
}

export interface CountsPortOptions {
  readonly url: string;
  readonly now: () => number;
  readonly hasTokens?: boolean;
  readonly interceptors?: readonly UnaryInterceptor[];
  readonly maxInFlight?: number;
  readonly timeoutMs?: number;
  readonly hasFastLane?: boolean;
}

/** A port that answers queries. */
export interface CountsPort extends LanePort, AsyncDisposable {
  readonly queries: CountQueries;
}

/** Opens a port for CountsService over a database; dispose of it at the end. */
export async function openCountsPort(options: CountsPortOptions): Promise<CountsPort> {
  const { url, now, hasTokens = false, interceptors = [], maxInFlight = 16, timeoutMs = 10_000 } = options;
  const queryPool = createQueryPool({ url, logger: silent, timeoutMs, maxInFlight });
  const queries = new CountQueries({ queryPool, clock: { now } });
  const methods = createCountsMethods({ counts: queries, clock: { now }, hasTokens, interceptors });
  const port = await openLanePort(methods, { hasFastLane: options.hasFastLane ?? true });
  return {
    ...port,
    queries,
    async [Symbol.asyncDispose]() {
      await port.server.close();
      await queries.close();
    },
  };
}
