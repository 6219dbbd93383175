/** Compares the service's clock with PostgreSQL's, which is a second opinion when events seem to come from the future. */
import type { Pool, PoolClient } from "pg";
import type { Logger } from "pino";
import type { Clock } from "../util/clock.js";
import { withConnection } from "./pool.js";

/** Clocks that differ by no more than this, in milliseconds, are held to be the same. */
export const CLOCK_TOLERANCE_MS = 60_000;
/** PostgreSQL is asked at most this often, in milliseconds. */
const ASK_EVERY_MS = 60_000;
/** How long it may take to answer, in milliseconds. */
const ANSWER_TIMEOUT_MS = 5_000;

/** How far PostgreSQL's clock is ahead of this machine's, in milliseconds; less than 0: it is behind. */
export async function readClockOffset(client: Pick<PoolClient, "query">, clock: Clock): Promise<number> {
  const askedAt = clock.now();
  const { rows } = await client.query<{ now: number }>(
    "SELECT extract(epoch FROM clock_timestamp())::float8 * 1000 AS now",
  );
  const answeredAt = clock.now();
  return Math.round((rows[0]?.now ?? answeredAt) - (askedAt + answeredAt) / 2);
}

export interface ClockWitnessDeps {
  readonly pool: Pool;
  readonly clock: Clock;
  readonly logger: Logger;
}

/** Warns once of each finding: this machine's clock is off, or it is not and the callers' are. */
export class ClockWitness {
  readonly #deps: ClockWitnessDeps;
  #askAgainAt = Number.NEGATIVE_INFINITY;
  #isOff: boolean | undefined;

  constructor(deps: ClockWitnessDeps) {
    this.#deps = deps;
  }

  /** An event came whose time lies ahead of the clock. Returns at once. */
  readonly doubt = (): void => {
    const { clock } = this.#deps;
    if (clock.elapsed() >= this.#askAgainAt) {
      this.#askAgainAt = clock.elapsed() + ASK_EVERY_MS;
      // In an outage the next doubt asks again.
      void this.#ask().catch(() => undefined);
    }
  };

  async #ask(): Promise<void> {
    const { pool, clock, logger } = this.#deps;
    const deadline = AbortSignal.timeout(ANSWER_TIMEOUT_MS);
    const offsetMs = await withConnection(pool, deadline, (client) => readClockOffset(client, clock));
    const isOff = Math.abs(offsetMs) > CLOCK_TOLERANCE_MS;
    if (isOff === this.#isOff) {
      return;
    }
    this.#isOff = isOff;
    logger.warn(
      { databaseClockAheadMs: offsetMs },
      isOff
        ? "events are refused because their time lies ahead of this machine's clock, which is likely off: PostgreSQL's clock differs from it"
        : "events are refused because their time lies ahead of this machine's clock, with which PostgreSQL's agrees: their callers' clocks are likely off",
    );
  }
}
