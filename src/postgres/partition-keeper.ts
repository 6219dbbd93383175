/** The background job that keeps day partitions ahead of time; it never writes events. */
import type { Pool } from "pg";
import type { Logger } from "pino";
import type { Clock } from "../util/clock.js";
import { messageOf } from "../util/error-message.js";
import { PeriodicJob } from "../util/periodic-job.js";
import { createPartitions, describePartitions } from "./partitions.js";

/** Events may be a week old when they come, and a week is long enough to repair what stops this job. */
const DAYS_BEHIND = 7;
const DAYS_AHEAD = 7;
const INTERVAL_MS = 60 * 60 * 1000;
const RETRY_MS = 60 * 1000;

export interface PartitionKeeperDeps {
  readonly pool: Pool;
  readonly clock: Clock;
  readonly logger: Logger;
}

/** Makes missing partitions every hour from start() on. */
export class PartitionKeeper {
  readonly #pool: Pool;
  readonly #clock: Clock;
  readonly #logger: Logger;
  readonly #job: PeriodicJob;
  /** Those that were missing at the last pass and could not be made. */
  #unmade: readonly string[] = [];

  constructor(deps: PartitionKeeperDeps) {
    this.#pool = deps.pool;
    this.#clock = deps.clock;
    this.#logger = deps.logger;
    this.#job = new PeriodicJob({
      clock: deps.clock,
      firstMs: INTERVAL_MS,
      retryMs: RETRY_MS,
      pass: async () => {
        await this.makeMissing();
        return INTERVAL_MS;
      },
      onFailure: (error) =>
        this.#logger.error(
          { reason: messageOf(error), retryInMs: RETRY_MS },
          "partitions could not be made; rows without one go to incoming_default meanwhile",
        ),
    });
  }

  /** Makes what is missing now; rejects with PostgreSQL's error. */
  async makeMissing(): Promise<void> {
    const range = { daysBehind: DAYS_BEHIND, daysAhead: DAYS_AHEAD };
    const { signal } = this.#job;
    const { made, detached, crowded, refused } = await createPartitions(
      this.#pool,
      this.#clock.now(),
      range,
      signal,
    );
    if (made.length > 0) {
      this.#logger.info({ partitions: describePartitions(made) }, "partitions made");
    }
    this.#warnOf(
      detached,
      "partitions of recent days are detached; rows of those days go to the default partition",
    );
    this.#warnOf(crowded, "days have too many rows in the default partition to move them; they stay there");
    for (const { name, reason } of refused.filter((each) => !this.#unmade.includes(each.name))) {
      this.#logger.error(
        { partition: name, reason },
        "a partition cannot be made; rows of its day go to the default partition",
      );
    }
    this.#unmade = [...detached, ...crowded, ...refused.map(({ name }) => name)];
  }

  /** Makes what is missing now; a failure is logged and tried again in a minute. */
  keep(): Promise<void> {
    return this.#job.run();
  }

  /** Starts to look every hour. */
  start(): void {
    this.#job.start();
  }

  /** Resolves when the pass in progress, if any, has been given up. Safe before start() and twice. */
  close(): Promise<void> {
    return this.#job.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  /** Once of each: nothing has to be done about it. */
  #warnOf(unmade: readonly string[], message: string): void {
    const partitions = unmade.filter((name) => !this.#unmade.includes(name));
    if (partitions.length > 0) {
      this.#logger.warn({ partitions: describePartitions(partitions) }, message);
    }
  }
}
