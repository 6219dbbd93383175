import type { Pool } from "pg";
import { pino } from "pino";
import { closePool, createPool, withConnection } from "../../../src/postgres/pool.js";
import { createTestDatabase, type TestDatabase } from "../../support/database.js";

const never = new AbortController().signal;

let database: TestDatabase;
let pool: Pool;

beforeEach(async () => {
  database = await createTestDatabase();
  pool = createPool({ url: database.url, logger: pino({ level: "silent" }) });
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

describe("createPool", () => {
  it.each([
    ["off", "local"],
    ["local", "local"],
    ["on", "on"],
    ["remote_apply", "remote_apply"],
  ])("with synchronous_commit %s on the server has a commit wait as with %s", async (setting, expected) => {
    const name = new URL(database.url).pathname.slice(1);
    await database.pool.query(`ALTER DATABASE ${name} SET synchronous_commit = ${setting}`);
    // What has the source "session" stays as it is when the server reads its settings again.
    const { rows } = await pool.query(
      "SELECT setting, source FROM pg_settings WHERE name = 'synchronous_commit'",
    );
    expect(rows).toEqual([{ setting: expected, source: "session" }]);
  });

  it("lets no transaction_timeout of the database end a session, as it would in the middle of a batch", async () => {
    const name = new URL(database.url).pathname.slice(1);
    // Before version 17 there is no such setting.
    await database.pool.query(
      `DO $$ BEGIN ALTER DATABASE ${name} SET transaction_timeout = '100ms';
       EXCEPTION WHEN undefined_object THEN NULL; END $$`,
    );
    await expect(run("SELECT pg_sleep(0.5)")).resolves.toBeGreaterThan(0);
  });

  it("reads dates however the database writes them", async () => {
    const name = new URL(database.url).pathname.slice(1);
    await database.pool.query(`ALTER DATABASE ${name} SET datestyle = 'German'`);
    const { rows } = await pool.query("SELECT timestamptz '2026-03-04 12:00:00Z' AS noon");
    expect(rows).toEqual([{ noon: new Date(Date.UTC(2026, 2, 4, 12)) }]);
  });
});
