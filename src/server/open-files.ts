/** Keeps connections from using up the files that the process may have open; it changes no limit of the system. */
import { readFileSync } from "node:fs";
import type { Logger } from "pino";

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
