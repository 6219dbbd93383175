/** Gives commands the service's database for as long as they need it. */
import type { Pool } from "pg";
import { pino } from "pino";
import type { Config } from "../config.js";
import { embeddedUrl } from "../postgres/embedded.js";
import { closePool, createPool } from "../postgres/pool.js";
import { messageOf } from "../util/error-message.js";
import { complain } from "./print.js";

/**
 * The database of the service: DATABASE_URL's, or the embedded one, which runs while the service does. Resolves with
 * the exit status that `work` gives, or with 1 when it failed, which is said on standard error then.
 */
export async function withPool(config: Config, work: (pool: Pool) => Promise<number>): Promise<number> {
  const logger = pino({ level: "silent" });
  const pool = createPool({ url: config.databaseUrl ?? embeddedUrl(config.embeddedPostgresPort), logger });
  try {
    return await work(pool);
  } catch (error) {
    complain(`the database did not do it: ${messageOf(error)}`);
    return 1;
  } finally {
    await closePool(pool);
  }
}
