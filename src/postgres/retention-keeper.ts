/** The background job that removes days older than RETENTION_DAYS; it exists only where that is set. */
import type { Pool } from "pg";
import type { Logger } from "pino";
import type { Clock } from "../util/clock.js";
import { messageOf } from "../util/error-message.js";
import { PeriodicJob } from "../util/periodic-job.js";
import { withConnection } from "./pool.js";
import { earlierClock, firstKeptDay, type RemovalBooks, removeExpired } from "./retention.js";

/** After the start, so that it does not compete with the spool's replay for the first moments. */
const FIRST_MS = 60 * 1000;
const INTERVAL_MS = 60 * 60 * 1000;
/** Each try may hold inserts up for a moment, so they are far apart. */
const RETRY_MS = 5 * 60 * 1000;

export interface RetentionKeeperDeps {
  readonly pool: Pool;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Events are kept for at least this many days after they happened, and for about a day more at most. */
  readonly retentionDays: number;
  readonly books: RemovalBooks;
  /** Puts into the books whatever is not in them yet, before anything is removed. Rejects when it could not. */
  readonly bringBooksUpToDate: (signal: AbortSignal) => Promise<void>;
}

/** Looks a minute after start() and every hour. `new` → `started` by start(); → `closed`, for good, by close(). */
export class RetentionKeeper {
  readonly #deps: RetentionKeeperDeps;
  readonly #job: PeriodicJob;

  constructor(deps: RetentionKeeperDeps) {
    this.#deps = deps;
    this.#job = new PeriodicJob({
      clock: deps.clock,
      firstMs: FIRST_MS,
      retryMs: RETRY_MS,
      pass: (signal) => this.#removeDue(signal),
      onFailure: (error) =>
        deps.logger.error(
          { reason: messageOf(error), retryInMs: RETRY_MS },
          "old partitions could not be dropped; they are kept, and take space, meanwhile",
        ),
    });
  }

  /** Starts to look every hour. */
  start(): void {
    this.#job.start();
  }

  /** Removes what is due now. What fails or is in use is logged, and tried again after a while. */
  enforce(): Promise<void> {
    return this.#job.run();
  }

  /** Resolves when the pass in progress, if any, has been given up. Safe before start() and twice. */
  close(): Promise<void> {
    return this.#job.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  /** Resolves with the time to the next look, in milliseconds. */
  async #removeDue(signal: AbortSignal): Promise<number> {
    const { pool, clock, logger, retentionDays, books } = this.#deps;
    await this.#bringBooksUpToDate(signal);
    const { loose, kept } = await withConnection(pool, signal, async (client) => {
      const firstKeptMs = firstKeptDay(await earlierClock(client, clock.now()), retentionDays);
      return removeExpired(client, firstKeptMs, {
        books,
        onDropped: ({ name, rows, bytes }) =>
          logger.info(
            { partition: name, rowsEstimated: rows, bytes, retentionDays },
            "old partition dropped",
          ),
      });
    });
    for (const { name, rows } of loose) {
      logger.info({ partition: name, rows, retentionDays }, "old rows without a partition deleted");
    }
    for (const { name, reason } of kept) {
      logger.warn({ partition: name, reason, retryInMs: RETRY_MS }, "an old partition cannot be dropped yet");
    }
    return kept.length > 0 ? RETRY_MS : INTERVAL_MS;
  }

  /** A failure keeps nothing: the books say in each case what may go. */
  async #bringBooksUpToDate(signal: AbortSignal): Promise<void> {
    const { logger, bringBooksUpToDate } = this.#deps;
    try {
      await bringBooksUpToDate(signal);
    } catch (error) {
      signal.throwIfAborted();
      logger.warn({ reason: messageOf(error) }, "events could not be counted before old ones are dropped");
    }
  }
}
