/** A worker's part of the settings: what is for the whole service is divided; it reads no environment. */

import { workerSpoolDir } from "../../buffer/spool/spool-folders.js";
import type { Config } from "../../config.js";
import type { Assignment } from "./messages.js";

/** The settings that one worker runs with. */
export function workerConfig(config: Config, { worker, workers, databaseUrl }: Assignment): Config {
  return Object.freeze({
    ...config,
    databaseUrl,
    queueMaxBytes: Math.floor(config.queueMaxBytes / workers),
    spoolMaxBytes: Math.floor(config.spoolMaxBytes / workers),
    spoolDir: workerSpoolDir(config.spoolDir, worker),
  });
}
