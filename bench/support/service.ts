/** The service itself, as a benchmark calls it. */
import { fileURLToPath } from "node:url";
import { type BenchProcess, startProcess } from "./bench-process.js";

const MAIN = fileURLToPath(new URL("../../src/main.js", import.meta.url));

/**
 * Starts the built service with the settings' defaults, a spool and `environment` aside. Its last log line has the
 * books; stop() rejects when they do not balance.
 */
export function startService(
  environment: Readonly<Record<string, string>>,
  nodeArgs: readonly string[] = [],
): Promise<BenchProcess> {
  return startProcess({
    script: MAIN,
    environment: { PORT: "0", ADMIN_PORT: "0", SPOOL_MAX_BYTES: "0", ...environment },
    nodeArgs,
  });
}
