/** Owns the databases that tests run in, one for each that asks; it never touches one that it did not make. */
import { randomBytes } from "node:crypto";
import { Client, Pool } from "pg";

export interface TestDatabase extends AsyncDisposable {
  readonly url: string;
  readonly pool: Pool;
  /** Ends the pool and drops the database, whoever is still connected. Safe twice. */
  close(): Promise<void>;
}

/** `DROP DATABASE … WITH (FORCE)` came with PostgreSQL 13. */
const FORCE_SINCE = 130_000;

/** A new database on the server that TEST_DATABASE_URL names: a copy of `template`, or empty. */
export async function createTestDatabase(template?: string): Promise<TestDatabase> {
  const server = process.env.TEST_DATABASE_URL;
  if (server === undefined) {
    throw new Error("TEST_DATABASE_URL is not set: the global set-up has not run");
  }
  const name = `test_${randomBytes(8).toString("hex")}`;
  const copying = template === undefined ? "" : ` TEMPLATE ${template}`;
  await withClient(server, (client) => client.query(`CREATE DATABASE ${name}${copying}`));
  const url = new URL(server);
  url.pathname = `/${name}`;
  const pool = new Pool({ connectionString: url.href, max: 10 });
  // A test may well kill its own connections; the queries on them report it.
  pool.on("error", () => {});
  let closing: Promise<void> | undefined;
  const close = (): Promise<void> => {
    closing ??= (pool.ended ? Promise.resolve() : pool.end()).then(() => dropDatabase(server, name));
    return closing;
  };
  return { url: url.href, pool, close, [Symbol.asyncDispose]: close };
}

async function dropDatabase(server: string, name: string): Promise<void> {
  await withClient(server, async (client) => {
    const { rows } = await client.query<{ server_version_num: string }>("SHOW server_version_num");
    if (Number(rows[0]?.server_version_num) >= FORCE_SINCE) {
      await client.query(`DROP DATABASE IF EXISTS ${name} WITH (FORCE)`);
      return;
    }
    await client.query("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1", [name]);
    await client.query(`DROP DATABASE IF EXISTS ${name}`);
  });
}

async function withClient(url: string, work: (client: Client) => Promise<unknown>): Promise<void> {
  const client = new Client({ connectionString: url });
  await client.connect();
  try {
    await work(client);
  } finally {
    await client.end();
  }
}
