/** Gives commands the service's database for as long as they need it. */
import type { Pool } from "pg";
import { pino } from "pino";
import type { Settings } from "../config/command-settings.js";
import { embeddedUrl } from "../postgres/embedded.js";
import { closePool, createPool } from "../postgres/pool.js";
import { messageOf } from "../util/error-message.js";
import { complain } from "./print.js";

/** The settings that say where the service's database is. */
export const DATABASE_SETTINGS = ["databaseUrl", "embeddedPostgresPort"] as const;

export type DatabaseSetting = (typeof DATABASE_SETTINGS)[number];

/**
 * The database of the service: DATABASE_URL's, or the embedded one, which runs while the service does. Resolves with
 * the exit status that `work` gives, or with 1 when it failed, which is said on standard error then.
 */
export async function withPool(
  { databaseUrl, embeddedPostgresPort }: Pick<Settings, DatabaseSetting>,
  work: (pool: Pool) => Promise<number>,
): Promise<number> {
  const logger = pino({ level: "silent" });
  const pool = createPool({ url: databaseUrl ?? embeddedUrl(embeddedPostgresPort), logger });
  try {
    return await work(pool);
  } catch (error) {
    complain(`the database refused: ${messageOf(error)}`);
    return 1;
  } finally {
    await closePool(pool);
  }
}
