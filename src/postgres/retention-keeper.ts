/** The background job that removes days older than RETENTION_DAYS; it exists only where that is set. */
import type { Pool } from "pg";
import type { Logger } from "pino";
import type { Clock } from "../util/clock.js";
import { messageOf } from "../util/error-message.js";
import { withConnection } from "./pool.js";
import { earlierClock, firstKeptDay, removeExpired } from "./retention.js";

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
}

/** Looks a minute after start() and every hour. `new` → `started` by start(); → `closed`, for good, by close(). */
export class RetentionKeeper {
  readonly #deps: RetentionKeeperDeps;
  readonly #closing = new AbortController();
  #cancelTimer: (() => void) | undefined;
  #pass: Promise<void> = Promise.resolve();

  constructor(deps: RetentionKeeperDeps) {
    this.#deps = deps;
  }

  /** Starts to look every hour. */
  start(): void {
    if (this.#cancelTimer === undefined) {
      this.#enforceIn(FIRST_MS);
    }
  }

  /** Removes what is due. What fails or is in use is logged, and tried again after a while. */
  async enforce(): Promise<void> {
    const { pool, clock, logger, retentionDays } = this.#deps;
    this.#cancelTimer?.();
    try {
      const { loose, kept } = await withConnection(pool, this.#closing.signal, async (client) => {
        const firstKeptMs = firstKeptDay(await earlierClock(client, clock.now()), retentionDays);
        return removeExpired(client, firstKeptMs, ({ name, rows, bytes }) =>
          logger.info(
            { partition: name, rowsEstimated: rows, bytes, retentionDays },
            "old partition dropped",
          ),
        );
      });
      for (const { name, rows } of loose) {
        logger.info({ partition: name, rows, retentionDays }, "old rows without a partition deleted");
      }
      for (const { name, reason } of kept) {
        logger.warn(
          { partition: name, reason, retryInMs: RETRY_MS },
          "an old partition cannot be dropped yet",
        );
      }
      this.#enforceIn(kept.length > 0 ? RETRY_MS : INTERVAL_MS);
    } catch (error) {
      if (!this.#closing.signal.aborted) {
        logger.error(
          { reason: messageOf(error), retryInMs: RETRY_MS },
          "old partitions could not be dropped; they are kept, and take space, meanwhile",
        );
        this.#enforceIn(RETRY_MS);
      }
    }
  }

  /** Resolves when the pass in progress, if any, has been given up. Safe before start() and twice. */
  async close(): Promise<void> {
    this.#closing.abort(new Error("the service is stopping"));
    this.#cancelTimer?.();
    await this.#pass;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  #enforceIn(ms: number): void {
    if (!this.#closing.signal.aborted) {
      this.#cancelTimer = this.#deps.clock.schedule(ms, () => {
        this.#pass = this.enforce();
      });
    }
  }
}
