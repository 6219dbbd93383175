import type { Pool } from "pg";
import { pino } from "pino";
import { closePool, createPool, inTransaction, withConnection } from "../../../src/postgres/pool.js";
import { classifyFault, isOutage } from "../../../src/postgres/sqlstate.js";
import { createTestDatabase, type TestDatabase } from "../../support/database.js";
import { freePort } from "../../support/free-port.js";

const never = new AbortController().signal;
const silent = pino({ level: "silent" });

let database: TestDatabase;
let pool: Pool;

beforeEach(async () => {
  database = await createTestDatabase();
  pool = createPool({ url: database.url, logger: silent });
});

afterEach(async () => {
  await closePool(pool);
  await database.close();
});

/** Runs a statement, and resolves with the session's number. */
function run(statement: string): Promise<number> {
  return withConnection(pool, never, async (client) => {
    const { rows } = await client.query<{ pid: number }>("SELECT pg_backend_pid() AS pid");
    await client.query(statement);
    return rows[0]?.pid ?? 0;
  });
}

describe("withConnection", () => {
  it("keeps a connection on which a statement failed", async () => {
    const first = await run("SELECT 1");
    await expect(run("SELECT 1 / 0")).rejects.toMatchObject({ code: "22012" });
    expect(await run("SELECT 1")).toBe(first);
  });

  it("leaves a connection whose server is read-only: a new one may reach the server that is not", async () => {
    const first = await run("SET default_transaction_read_only = on");
    await expect(run("CREATE TABLE news ()")).rejects.toMatchObject({ code: "25006" });
    expect(await run("CREATE TABLE news ()")).not.toBe(first);
  });
});

/** What a statement gives in a transaction of the service's. */
function inOurs(statement: string): Promise<unknown[]> {
  return withConnection(pool, never, (client) =>
    inTransaction(client, async () => (await client.query<object>(statement)).rows),
  );
}

/** Sets something for the database, as its operator may. */
async function setForDatabase(setting: string): Promise<void> {
  const name = new URL(database.url).pathname.slice(1);
  await database.pool.query(`ALTER DATABASE ${name} SET ${setting}`);
}

describe("A transaction of the service", () => {
  it.each([
    ["off", "local"],
    ["local", "local"],
    ["on", "on"],
    ["remote_apply", "remote_apply"],
  ])("with synchronous_commit %s on the server has a commit wait as with %s", async (setting, expected) => {
    await setForDatabase(`synchronous_commit = ${setting}`);
    expect(await inOurs("SHOW synchronous_commit")).toEqual([{ synchronous_commit: expected }]);
  });

  it("is ended by no transaction_timeout of the database, as it would be in the middle of a batch", async () => {
    await database.pool.query("SELECT 1");
    await setForDatabase("transaction_timeout = '100ms'").catch((error: { code?: string }) => {
      // Before version 17 there is no such setting.
      expect(error.code).toBe("42704");
    });
    expect(await inOurs("SELECT pg_sleep(0.5)")).toHaveLength(1);
  });

  it("reads dates however the database writes them", async () => {
    await setForDatabase("datestyle = 'German'");
    expect(await inOurs("SELECT timestamptz '2026-03-04 12:00:00Z' AS noon")).toEqual([
      { noon: new Date(Date.UTC(2026, 2, 4, 12)) },
    ]);
  });

  it("lets a statement take as long as the service waits, whatever the database says", async () => {
    await setForDatabase("statement_timeout = '50ms'");
    expect(await inOurs("SELECT pg_sleep(0.2)")).toHaveLength(1);
  });

  it("leaves nothing set behind it", async () => {
    await inOurs("SELECT 1");
    const { rows } = await pool.query("SELECT name FROM pg_settings WHERE source = 'session'");
    expect(rows).toEqual([]);
  });

  it("asks a connection that gave no answer for no other one", async () => {
    const impatient = createPool({ url: database.url, logger: silent, settings: { query_timeout: 200 } });
    const startedAt = performance.now();
    const stuck = withConnection(impatient, never, (client) =>
      inTransaction(client, () => client.query("SELECT pg_sleep(60)")),
    );
    await expect(stuck).rejects.toThrow("Query read timeout");
    // A ROLLBACK would have waited for its answer as long again.
    expect(performance.now() - startedAt).toBeLessThan(10_000);
    expect(impatient.totalCount).toBe(0);
    await closePool(impatient);
  });
});

describe("createPool", () => {
  /** The database, behind a host that does not answer. */
  async function behindNobody(search = ""): Promise<string> {
    const { username, password, hostname, host, pathname } = new URL(database.url);
    return `postgres://${username}:${password}@${hostname}:${await freePort()},${host}${pathname}${search}`;
  }

  /** The name of the database that a pool with this URL comes to. */
  async function connectsTo(url: string): Promise<string> {
    const other = createPool({ url, logger: silent });
    try {
      const { rows } = await other.query<{ name: string }>("SELECT current_database() AS name");
      return rows[0]?.name ?? "";
    } finally {
      await closePool(other);
    }
  }

  it("goes to the first of several hosts that answers", async () => {
    expect(await connectsTo(await behindNobody())).toBe(new URL(database.url).pathname.slice(1));
  });

  it("takes none that is read-only where it is to be read-write, says so, and takes it once it is not", async () => {
    const url = await behindNobody("?target_session_attrs=read-write");
    await setForDatabase("default_transaction_read_only = on");
    const refused: unknown = await connectsTo(url).catch((error: unknown) => error);
    expect(refused).toMatchObject({ message: expect.stringContaining("is read-only") });
    expect(isOutage(refused)).toBe(true);
    const name = new URL(database.url).pathname.slice(1);
    await database.pool.query(
      `BEGIN READ WRITE; ALTER DATABASE ${name} RESET default_transaction_read_only; COMMIT`,
    );
    expect(await connectsTo(url)).toBe(name);
  });

  it.each([
    ["?sslmode=require", "switch TLS on at the server, or write sslmode=disable in DATABASE_URL"],
    ["?options=-cno_such_setting%3D1", "check the parameters in DATABASE_URL"],
  ])(
    "says which setting to look at when %s is refused, and that waiting does not help",
    async (search, advice) => {
      const refused: unknown = await connectsTo(database.url + search).catch((error: unknown) => error);
      expect(refused).toMatchObject({ message: expect.stringContaining(advice) });
      expect([isOutage(refused), classifyFault(refused)]).toEqual([false, "schema"]);
    },
  );

  it("says which setting to look at when there is no such database", async () => {
    const url = new URL(database.url);
    url.pathname = "/no_such_database";
    const refused: unknown = await connectsTo(url.href).catch((error: unknown) => error);
    expect(refused).toMatchObject({
      message:
        'database "no_such_database" does not exist: create the database, or name another one in DATABASE_URL',
    });
    expect([isOutage(refused), classifyFault(refused)]).toEqual([false, "schema"]);
  });
});
