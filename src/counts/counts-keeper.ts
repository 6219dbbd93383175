/**
 * The background job that keeps the tables of the counts in order: finishes what the migration of a large table left to do (the
 * index, the rows from before the counts), and drops counts that are too old for their tier. It counts no new rows.
 */
import type { Pool, PoolClient } from "pg";
import type { Logger } from "pino";
import { buildNextIndex, isIndexComplete } from "../postgres/incoming-index.js";
import { inLongTransaction } from "../postgres/long-transaction.js";
import { withConnection } from "../postgres/pool.js";
import { earlierClock, firstKeptDay } from "../postgres/retention.js";
import type { Clock } from "../util/clock.js";
import { messageOf } from "../util/error-message.js";
import { PeriodicJob } from "../util/periodic-job.js";
import { backfillNext, listDays } from "./backfill.js";
import { fold } from "./fold.js";
import { DAY, HOUR, QUARTER_HOUR, type Tier } from "./tiers.js";
import { unsupportedDatabase } from "./unsupported.js";

export interface CountsKeeperDeps {
  /** For counts alone: a day may take minutes. */
  readonly pool: Pool;
  readonly clock: Clock;
  readonly logger: Logger;
  /** How long the finest counts are kept, in days. */
  readonly quarterDays: number;
  /** How long those by the hour are kept, in days. */
  readonly hourDays: number;
  /** undefined: rows are kept for ever. */
  readonly retentionDays: number | undefined;
}

const FIRST_MS = 1_000;
const INTERVAL_MS = 60 * 60 * 1000;
const RETRY_MS = 60 * 1000;
/** Somebody else is at the table. */
const BUSY_MS = 5_000;
/** Days that retention drops this soon are counted before others. */
const URGENT_DAYS = 3;
const DAY_MS = 24 * 60 * 60 * 1000;
/** The first time, it may be years of counts. */
const DROP_TIMEOUT_MS = 60 * 60 * 1000;
/** Retention does not wait for a fold for longer than this. */
const FOLD_TIMEOUT_MS = 10 * 60 * 1000;

/** Looks a second after start(), then every hour, or at once while there is more to do. */
export class CountsKeeper {
  readonly #deps: CountsKeeperDeps;
  readonly #job: PeriodicJob;

  constructor(deps: CountsKeeperDeps) {
    this.#deps = deps;
    this.#job = new PeriodicJob({
      clock: deps.clock,
      firstMs: FIRST_MS,
      retryMs: RETRY_MS,
      pass: (signal) => this.#pass(signal),
      onFailure: (error) =>
        deps.logger.error(
          { reason: messageOf(error), retryInMs: RETRY_MS },
          "counts: upkeep failed; old events or old counts have to wait",
        ),
    });
  }

  /** Starts in the background. */
  start(): void {
    this.#job.start();
  }

  /** Does what is due now. Never rejects. */
  keep(): Promise<void> {
    return this.#job.run();
  }

  /** Resolves when what is in progress has been given up; the next one begins there. Safe before start() and twice. */
  close(): Promise<void> {
    return this.#job.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  /** One partition's index, or one day: short, so that a stop loses little. */
  #pass(signal: AbortSignal): Promise<number> {
    const { pool, logger } = this.#deps;
    return withConnection(pool, signal, async (client) => {
      if ((await unsupportedDatabase(client)) !== undefined) {
        return INTERVAL_MS;
      }
      const index = await buildNextIndex(client);
      if (index.kind !== "complete") {
        if (index.kind === "built") {
          logger.info({ partition: index.partition }, "counts: index of a partition built");
        }
        return index.kind === "built" ? 0 : BUSY_MS;
      }
      if (await this.#backfill(client)) {
        return 0;
      }
      await this.#dropOld(client);
      return INTERVAL_MS;
    });
  }

  /** False: there is nothing left to do. */
  async #backfill(client: PoolClient): Promise<boolean> {
    const { clock, retentionDays, logger } = this.#deps;
    await listDays(client);
    const urgentBefore =
      retentionDays === undefined
        ? undefined
        : new Date(
            firstKeptDay(await earlierClock(client, clock.now()), retentionDays) + URGENT_DAYS * DAY_MS,
          );
    const startedAt = clock.elapsed();
    const day = await backfillNext(client, urgentBefore);
    if (day === undefined) {
      return false;
    }
    const { rows } = await client.query<{ left: number }>(
      "SELECT count(*)::integer AS left FROM counts_backfill",
    );
    const daysLeft = rows[0]?.left ?? 0;
    const durationMs = Math.round(clock.elapsed() - startedAt);
    logger.info({ ...day, daysLeft, durationMs }, "counts: events from before the counts counted");
    return true;
  }

  async #dropOld(client: PoolClient): Promise<void> {
    const { clock, quarterDays, hourDays, logger } = this.#deps;
    const nowMs = await earlierClock(client, clock.now());
    for (const [tier, days] of [
      [QUARTER_HOUR, quarterDays],
      [HOUR, hourDays],
    ] as const) {
      const rows = await dropCounts(client, tier, new Date(firstKeptDay(nowMs, days)));
      if (rows > 0) {
        logger.info({ tier: tier.name, rows, days }, "counts: old ones dropped");
      }
    }
  }
}

/**
 * Drops a tier's counts of buckets before a time, the begin of a day. The state says so first, so that nothing late is added
 * to a bucket that would then look whole.
 */
async function dropCounts(client: PoolClient, tier: Tier, before: Date): Promise<number> {
  await client.query("UPDATE counts_state SET kept_from = $2 WHERE tier = $1 AND kept_from < $2", [
    tier.name,
    before,
  ]);
  return await inLongTransaction(client, DROP_TIMEOUT_MS, async (query) => {
    const { rowCount } = await query(`DELETE FROM ${tier.table} WHERE bucket < $1`, [before]);
    return rowCount ?? 0;
  });
}

/**
 * Counts what is not counted yet, before retention removes rows from before `before`. Does nothing where nobody uses the
 * counts. Rejects with PostgreSQL's error.
 */
export async function countBeforeRemoval(client: PoolClient, before: Date): Promise<void> {
  const { rows } = await client.query<{ in_use: boolean }>("SELECT in_use FROM counts_cluster");
  if (
    rows[0]?.in_use !== true ||
    (await unsupportedDatabase(client)) !== undefined ||
    !(await isIndexComplete(client))
  ) {
    return;
  }
  for (const tiers of [[QUARTER_HOUR], [HOUR, DAY]]) {
    await fold(client, tiers, { timeoutMs: FOLD_TIMEOUT_MS });
  }
  await listDays(client);
  for (;;) {
    const { rowCount } = await client.query("SELECT FROM counts_backfill WHERE start_time < $1 LIMIT 1", [
      before,
    ]);
    if (rowCount === 0 || (await backfillNext(client, before)) === undefined) {
      return;
    }
  }
}
