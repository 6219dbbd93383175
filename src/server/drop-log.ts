/** Tells the log of connections that were dropped, which come by the thousand, once in a while; it drops none. */
import type { Logger } from "pino";
import type { Clock } from "../util/clock.js";

/** The log is told at most this often, in milliseconds. */
const INTERVAL_MS = 60_000;

/** What {@link DropLog} needs. */
export interface DropLogDeps {
  readonly clock: Clock;
  readonly logger: Logger;
  readonly maxConnections: number;
}

/** Tells the first of them at once, and the number of those that follow a minute later. */
export class DropLog {
  readonly #deps: DropLogDeps;
  #dropped = 0;
  /** By {@link Clock.elapsed}. */
  #quietUntilMs = Number.NEGATIVE_INFINITY;

  constructor(deps: DropLogDeps) {
    this.#deps = deps;
  }

  /** Notes that a connection was dropped because `maxConnections` are open. */
  add(): void {
    this.#dropped += 1;
    this.sweep();
  }

  /** Tells of what has not been told, if it is time. */
  sweep(): void {
    const { clock, logger, maxConnections } = this.#deps;
    if (this.#dropped === 0 || clock.elapsed() < this.#quietUntilMs) {
      return;
    }
    this.#quietUntilMs = clock.elapsed() + INTERVAL_MS;
    logger.warn(
      { maxConnections, dropped: this.#dropped },
      "MAX_CONNECTIONS are open; closing new ones at once",
    );
    this.#dropped = 0;
  }
}
