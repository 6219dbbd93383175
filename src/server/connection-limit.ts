/** How many connections may be open, and what the log says of those that were dropped because as many were. */
import { readFileSync } from "node:fs";
import type { Logger } from "pino";
import type { Clock } from "../util/clock.js";

/** Left for the database, the spool, the admin port and Node itself. */
const RESERVED_FILES = 256;

/**
 * Most connections, of `wanted`, that leave files for all else: without them the spool could not be written just when
 * the service is flooded. Says so when it is fewer.
 */
export function connectionsWithin(openFiles: number | undefined, wanted: number, logger: Logger): number {
  const possible =
    openFiles === undefined ? wanted : Math.max(openFiles - RESERVED_FILES, Math.floor(openFiles / 2));
  if (possible >= wanted) {
    return wanted;
  }
  logger.warn(
    { maxConnections: wanted, openFiles, connections: possible },
    "MAX_CONNECTIONS is more than the limit of open files (ulimit -n) leaves room for; taking fewer",
  );
  return possible;
}

/** The limit of open files, where the system tells it (Linux) and has one. */
export function openFilesLimit(): number | undefined {
  try {
    const limit = /^Max open files +(\d+)/m.exec(readFileSync("/proc/self/limits", "latin1"))?.[1];
    return limit === undefined ? undefined : Number(limit);
  } catch {
    return undefined;
  }
}

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
