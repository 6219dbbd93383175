/** Databases with the service's schema, and what tests do to them from the side. */
import { randomBytes } from "node:crypto";
import { copyFile, mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Pool, PoolClient } from "pg";
import { migrationsDirectory } from "../../src/util/package-info.js";
import { createTestDatabase, type TestDatabase } from "./database.js";
import { until } from "./wait.js";

/** What the global set-up made; see template-databases.js. */
interface Templates {
  readonly migrated: string;
  readonly partitioned: string;
}

/** A new database, migrated; all events go to the default partition. */
export function createStatsDatabase(): Promise<TestDatabase> {
  return createTestDatabase(templates().migrated);
}

/** A new database as a service leaves it that has run today: a start on it has no table to make. */
export function createServiceDatabase(): Promise<TestDatabase> {
  return createTestDatabase(templates().partitioned);
}

function templates(): Templates {
  return JSON.parse(process.env.TEST_TEMPLATES ?? "{}") as Templates;
}

/** A folder with the first migrations of this version, as an older version had them; it goes when it is disposed of. */
export async function migrationsUpTo(version: number): Promise<AsyncDisposable & { readonly path: string }> {
  const path = await mkdtemp(join(tmpdir(), "stats-migrations-"));
  for (const name of await readdir(migrationsDirectory)) {
    if (Number(name.slice(0, 4)) <= version) {
      await copyFile(join(migrationsDirectory, name), join(path, name));
    }
  }
  return { path, [Symbol.asyncDispose]: () => rm(path, { recursive: true }) };
}

/** Resolves with the ids of the sessions that wait for a lock in this database, once there are `count`. */
export async function lockWaiters(pool: Pool, count = 1): Promise<number[]> {
  let waiters: number[] = [];
  await until(async () => {
    const { rows } = await pool.query<{ pid: number }>(
      `SELECT DISTINCT pid FROM pg_locks JOIN pg_stat_activity USING (pid)
       WHERE NOT granted AND datname = current_database()`,
    );
    waiters = rows.map(({ pid }) => pid);
    return waiters.length >= count;
  }, `${count} sessions that wait for a lock`);
  return waiters;
}

/** A transaction that stays open until it is disposed of, which commits it. */
export async function openTransaction(pool: Pool, ...statements: string[]): Promise<AsyncDisposable> {
  const client: PoolClient = await pool.connect();
  let isOpen = true;
  for (const statement of ["BEGIN", ...statements]) {
    await client.query(statement);
  }
  return {
    [Symbol.asyncDispose]: async () => {
      if (isOpen) {
        isOpen = false;
        await client.query("COMMIT");
        client.release();
      }
    },
  };
}

/** A connection for settings that hold for a session. */
export async function openSession(pool: Pool): Promise<AsyncDisposable & { readonly client: PoolClient }> {
  const client = await pool.connect();
  return {
    client,
    [Symbol.asyncDispose]: () => {
      client.release(true);
      return Promise.resolve();
    },
  };
}

/** A role without any right but those that `grants` give it, and how to connect as that role. */
export interface TestRole extends AsyncDisposable {
  readonly name: string;
  readonly url: string;
}

/** Makes a role in a database; disposing of it takes its rights away. `grants` name it as `$role`. */
export async function createRole(database: TestDatabase, ...grants: string[]): Promise<TestRole> {
  const { pool } = database;
  const name = `test_${randomBytes(8).toString("hex")}`;
  await pool.query(`CREATE ROLE ${name}`);
  // Before PostgreSQL 15, everyone may create tables in this schema.
  await pool.query("REVOKE CREATE ON SCHEMA public FROM PUBLIC");
  for (const grant of grants) {
    await pool.query(grant.replaceAll("$role", name));
  }
  const url = new URL(database.url);
  url.search = `?options=-crole%3D${name}`;
  return {
    name,
    url: url.href,
    [Symbol.asyncDispose]: async () => {
      await pool.query(`DROP OWNED BY ${name}`);
      await pool.query(`DROP ROLE ${name}`);
    },
  };
}
