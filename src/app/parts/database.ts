/** The parts that know where the database is and bring its schema up to date; a primary has no more of it than these. */
import { adaptCounts } from "../../counts/cluster.js";
import { EmbeddedPostgres } from "../../postgres/embedded.js";
import { migrate } from "../../postgres/migrate.js";
import { Schema } from "../../postgres/schema.js";
import { migrationsDirectory } from "../../util/package-info.js";
import { part, type Registrations } from "./part.js";
import type { ProcessParts } from "./process.js";

export interface DatabaseParts {
  /** undefined: there is a DATABASE_URL. */
  readonly embeddedPostgres: EmbeddedPostgres | undefined;
  readonly databaseUrl: string;
  readonly schema: Schema;
  /** Makes the partitions that are missing, once the tables are there. Never rejects. */
  readonly makePartitions: () => Promise<void>;
}

type Needs = DatabaseParts & ProcessParts;

export function databaseParts(): Omit<Registrations<DatabaseParts>, "makePartitions"> {
  return {
    embeddedPostgres: part(createEmbeddedPostgres, (postgres) => postgres?.close()),
    databaseUrl: part(chooseDatabaseUrl),
    schema: part(createSchema),
  };
}

function createEmbeddedPostgres({ config, logger }: Needs): EmbeddedPostgres | undefined {
  return config.databaseUrl === undefined
    ? new EmbeddedPostgres({ dataDir: config.dataDir, port: config.embeddedPostgresPort, logger })
    : undefined;
}

function chooseDatabaseUrl({ config, embeddedPostgres }: Needs): string {
  const url = config.databaseUrl ?? embeddedPostgres?.url;
  if (url === undefined) {
    throw new Error("neither a DATABASE_URL nor an embedded PostgreSQL");
  }
  return url;
}

function createSchema({ databaseUrl, makePartitions, clock, logger }: Needs): Schema {
  return new Schema({
    migrate: async (signal) => {
      await migrate({ url: databaseUrl, directory: migrationsDirectory, logger, signal });
      await adaptCounts({ url: databaseUrl, logger, signal });
    },
    createPartitions: makePartitions,
    clock,
  });
}
