/** Knows the databases on which counts would be wrong; it changes nothing. */
import type { Pool, PoolClient } from "pg";

/** What `version()` says where transactions are numbered by each node, and not by the database. */
const DISTRIBUTED = /YugabyteDB|-YB-|CockroachDB|Greenplum|Redshift|Citus/i;

/**
 * The name of the distributed PostgreSQL that this is, or undefined. There, each node numbers its transactions by itself, so
 * a row's number does not tell whether it was counted.
 */
export async function unsupportedDatabase(client: Pool | PoolClient): Promise<string | undefined> {
  const { rows } = await client.query<{ version: string; citus: boolean }>(
    "SELECT version(), EXISTS (SELECT FROM pg_extension WHERE extname = 'citus') AS citus",
  );
  const [database] = rows;
  return database?.citus === true ? "Citus" : DISTRIBUTED.exec(database?.version ?? "")?.[0];
}
