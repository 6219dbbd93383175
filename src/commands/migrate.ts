/** The command `migrate`: brings a database to this version's schema and makes its partitions, then ends. */
import { type Logger, pino } from "pino";
import { migrate } from "../postgres/migrate.js";
import { PartitionKeeper } from "../postgres/partition-keeper.js";
import { closePool, createPool } from "../postgres/pool.js";
import { systemClock } from "../util/clock.js";
import { messageOf } from "../util/error-message.js";
import { migrationsDirectory } from "../util/package-info.js";
import { type Call, type CommandDefinition, UsageError } from "./command.js";
import { complain, print } from "./print.js";

interface MigrateOptions {
  readonly json?: boolean;
}

export const defineMigrate: CommandDefinition = (command, line) => {
  command
    .description(
      "Bring the database at DATABASE_URL to the schema of this version, and make the partitions of the coming week. " +
        "The service does both itself when it starts, if its role has the right.\n\n" +
        "Ends with 0 if all is done, else with 1; with 2 if DATABASE_URL is not set.",
    )
    .option("--json", "the result as one line of JSON");
  line.runs(command, ["databaseUrl"], runMigrations);
};

/** Resolves with the exit status: 1 also when partitions could not be made, since nobody else may have the right to. */
async function runMigrations({
  options: { json = false },
  read,
}: Call<MigrateOptions, "databaseUrl">): Promise<number> {
  const { databaseUrl: url } = read("databaseUrl");
  if (url === undefined) {
    throw new UsageError(
      "DATABASE_URL is not set: there is no database to migrate (the embedded one migrates at start)",
    );
  }
  const logger = json ? pino({ level: "silent" }) : textLogger();
  const pool = createPool({ url, logger });
  const keeper = new PartitionKeeper({ pool, clock: systemClock, logger });
  let failure = "the migration failed";
  try {
    const applied = await migrate({ url, directory: migrationsDirectory, logger });
    failure = "the schema is up to date, but partitions could not be made";
    await keeper.makeMissing();
    const text = applied.length === 0 ? "the database is up to date" : "the database is migrated";
    print([json ? JSON.stringify({ applied }) : text]);
    return 0;
  } catch (error) {
    complain(`${failure}: ${messageOf(error)}`);
    return 1;
  } finally {
    await keeper.close();
    await closePool(pool);
  }
}

/** Prints what the parts log, as it comes: `migration applied: 0001_incoming.sql`. */
function textLogger(): Logger {
  const write = (line: string) => {
    const { msg, level: _, time: __, ...fields } = JSON.parse(line) as Record<string, unknown>;
    print([[msg, Object.values(fields).flat().join(", ")].filter((part) => part !== "").join(": ")]);
  };
  return pino({ base: null, level: "info" }, { write });
}
