/** The command `migrate`: brings a database to this version's schema and makes its partitions, then ends. */
import { migrate } from "../postgres/migrate.js";
import { PartitionKeeper } from "../postgres/partition-keeper.js";
import { closePool, createPool } from "../postgres/pool.js";
import { createLogger } from "../telemetry/logger.js";
import { systemClock } from "../util/clock.js";
import { messageOf } from "../util/error-message.js";
import { migrationsDirectory } from "../util/package-info.js";
import { type Call, type CommandDefinition, EXIT_USAGE } from "./command.js";

export const defineMigrate: CommandDefinition = (command, line) => {
  command.description(
    "Bring the database at DATABASE_URL to the schema of this version, and make the partitions of the coming week. " +
      "The service does both itself when it starts, if its role has the right.\n\n" +
      "Ends with 0 if all is done, else with 1; with 2 if DATABASE_URL is not set.",
  );
  line.runs(command, ["databaseUrl", "logLevel"], runMigrations);
};

/** Resolves with the exit status: 1 also when partitions could not be made, since nobody else may have the right to. */
async function runMigrations({ read }: Call<object, "databaseUrl" | "logLevel">): Promise<number> {
  const { databaseUrl: url, logLevel } = read("databaseUrl", "logLevel");
  const logger = createLogger(logLevel);
  if (url === undefined) {
    logger.fatal(
      "DATABASE_URL is not set: there is no database to migrate (the embedded one migrates at start)",
    );
    return EXIT_USAGE;
  }
  const pool = createPool({ url, logger });
  const keeper = new PartitionKeeper({ pool, clock: systemClock, logger });
  let failure = "the migration failed";
  try {
    const applied = await migrate({ url, directory: migrationsDirectory, logger });
    failure = "the schema is up to date, but partitions could not be made";
    await keeper.makeMissing();
    logger.info(
      { applied },
      applied.length === 0 ? "the database is up to date" : "the database is migrated",
    );
    return 0;
  } catch (error) {
    logger.fatal({ reason: messageOf(error) }, failure);
    return 1;
  } finally {
    await keeper.close();
    await closePool(pool);
  }
}
