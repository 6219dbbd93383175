/**
 * Brings the database to the schema that this version needs, by the numbered files in migrations/; it never
 * goes back and never edits a file's effects by hand.
 */
import { createHash } from "node:crypto";
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import type { PoolClient } from "pg";
import type { Logger } from "pino";
import type { FaultClass } from "../util/fault-class.js";
import { beginTransaction, closePool, createPool, withConnection } from "./pool.js";
import { LOCK_NOT_AVAILABLE, sqlstateOf } from "./sqlstate.js";

/** The database and the migrations of this version do not go together; a person has to look. */
export class MigrationError extends Error {
  override readonly name = "MigrationError";
  readonly faultClass: FaultClass = "schema";
}

interface Migration {
  readonly version: number;
  readonly name: string;
  readonly sql: string;
  /** SHA-256 of the file with LF for line ends, in hexadecimal. */
  readonly hash: string;
}

interface AppliedMigration {
  readonly version: number;
  readonly name: string;
  readonly hash: string;
}

/** Serialises services that start at the same time. Any number will do, as long as it never changes. */
const ADVISORY_LOCK_KEY = 7_305_806_211;
/** Longest wait for a service that is migrating the same database, and for all locks that a file takes. */
const LOCK_TIMEOUT_MS = 10_000;
/** Services may be writing: their inserts queue behind a lock that we wait for, so each try to get it is short. */
const LOCK_TRY_MS = 200;
/** Between two tries, for what queued behind the first. */
const LOCK_PAUSE_SECONDS = 0.8;
/** Longest wait for an answer; PostgreSQL's own word that a lock is not to be had comes before. */
const ANSWER_TIMEOUT_MS = 15_000;
/** Longest time for one file, which may have every row of a table to go through. */
const FILE_TIMEOUT_MS = 60 * 60 * 1000;
const FILE_PATTERN = /^(\d{4})_[a-z0-9_]+\.sql$/;

// IF NOT EXISTS alone would ask for the right to create, which a service whose operator migrates by hand lacks.
const TABLE_EXISTS = "SELECT to_regclass('stats_migrations') IS NOT NULL AS exists";
const CREATE_TABLE = `
  CREATE TABLE stats_migrations (
    version    integer PRIMARY KEY,
    name       text NOT NULL,
    hash       text NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now()
  );
  COMMENT ON TABLE stats_migrations IS 'Which of the files in migrations/ were applied to this database.';
  COMMENT ON COLUMN stats_migrations.version IS 'The number in the file''s name.';
  COMMENT ON COLUMN stats_migrations.name IS 'The file''s name.';
  COMMENT ON COLUMN stats_migrations.hash IS
    'SHA-256 of the file, in hexadecimal. A version whose file has another refuses the database.'`;

export interface MigrateOptions {
  /** `postgres://` URL. */
  readonly url: string;
  /** Folder with the SQL files. */
  readonly directory: string;
  readonly logger: Logger;
  /** Cuts the connection, which undoes the file that is being applied. Default: never. */
  readonly signal?: AbortSignal;
  /** Default: {@link LOCK_TIMEOUT_MS}. */
  readonly lockTimeoutMs?: number;
  /** Default: {@link ANSWER_TIMEOUT_MS}. */
  readonly answerTimeoutMs?: number;
}

/**
 * Applies what is missing, each file in a transaction of its own, and returns the names of the files applied.
 *
 * @throws MigrationError when the database is newer than this version, or a file was changed after it was applied;
 *   PostgreSQL's error, a transient one, when a lock is not to be had in time; a transient one of ours when PostgreSQL
 *   does not answer in time; the signal's reason when it aborts
 */
export async function migrate({
  url,
  directory,
  logger,
  signal = new AbortController().signal,
  lockTimeoutMs = LOCK_TIMEOUT_MS,
  answerTimeoutMs = ANSWER_TIMEOUT_MS,
}: MigrateOptions): Promise<string[]> {
  const migrations = await readMigrations(directory);
  // A connection apart: a migration may take longer than the pool waits for an answer, and dropping the connection is
  // the sure way to give up.
  const pool = createPool({
    url,
    logger,
    settings: {
      max: 1,
      query_timeout: answerTimeoutMs,
      application_name: "stats-service migrate",
    },
  });
  try {
    return await withConnection(pool, signal, async (client) => {
      const applied: string[] = [];
      for (;;) {
        const name = await applyNext(client, migrations, lockTimeoutMs);
        if (name === undefined) {
          return applied;
        }
        logger.info({ migration: name }, "migration applied");
        applied.push(name);
      }
    });
  } finally {
    await closePool(pool);
  }
}

async function missingMigrations(client: PoolClient, migrations: readonly Migration[]): Promise<Migration[]> {
  const table = await client.query<{ exists: boolean }>(TABLE_EXISTS);
  if (table.rows[0]?.exists !== true) {
    await client.query(CREATE_TABLE);
  }
  const { rows } = await client.query<AppliedMigration>(
    "SELECT version, name, hash FROM stats_migrations ORDER BY version",
  );
  const known = new Map(migrations.map((migration) => [migration.version, migration]));
  for (const applied of rows) {
    const migration = known.get(applied.version);
    if (migration === undefined) {
      throw new MigrationError(
        `the database has migration ${applied.name}, which this version of the service does not know: ` +
          "run the newer version, or point DATABASE_URL at another database",
      );
    }
    if (migration.hash !== applied.hash) {
      throw new MigrationError(
        `migrations/${migration.name} was changed after it was applied to this database: ` +
          "restore the file, and put the change in a new migration",
      );
    }
  }
  const appliedVersions = new Set(rows.map(({ version }) => version));
  return migrations.filter(({ version }) => !appliedVersions.has(version));
}

/**
 * Applies the first file that is missing, and returns its name; undefined when none is. Tries again for as long as others
 * hold the locks that the file needs, but not for longer than `timeoutMs`.
 */
async function applyNext(
  client: PoolClient,
  migrations: readonly Migration[],
  timeoutMs: number,
): Promise<string | undefined> {
  const triesMax = Math.ceil(timeoutMs / (LOCK_TRY_MS + LOCK_PAUSE_SECONDS * 1000));
  for (let tries = 1; ; tries += 1) {
    await beginMigration(client, timeoutMs);
    const [migration] = await missingMigrations(client, migrations);
    try {
      if (migration !== undefined) {
        await client.query(`SET LOCAL lock_timeout = ${Math.min(LOCK_TRY_MS, timeoutMs)}`);
        await apply(client, migration);
      }
      await client.query("COMMIT");
      return migration?.name;
    } catch (error) {
      if (sqlstateOf(error) !== LOCK_NOT_AVAILABLE || tries >= triesMax) {
        throw error;
      }
    }
    await client.query("ROLLBACK");
    await client.query(`SELECT pg_sleep(${LOCK_PAUSE_SECONDS})`);
  }
}

/**
 * Begins a transaction that keeps other services from migrating until it ends. Nothing is set for the session, which a
 * pooler may give to somebody else. No rollback where this fails: the connection is dropped then.
 */
async function beginMigration(client: PoolClient, lockTimeoutMs: number): Promise<void> {
  await beginTransaction(client);
  await client.query(`SET LOCAL statement_timeout = 0; SET LOCAL lock_timeout = ${lockTimeoutMs}`);
  await client.query("SELECT pg_advisory_xact_lock($1)", [ADVISORY_LOCK_KEY]);
}

async function apply(client: PoolClient, { version, name, sql, hash }: Migration): Promise<void> {
  const file = { text: sql, query_timeout: FILE_TIMEOUT_MS };
  await client.query(file);
  await client.query("INSERT INTO stats_migrations (version, name, hash) VALUES ($1, $2, $3)", [
    version,
    name,
    hash,
  ]);
}

async function readMigrations(directory: string): Promise<Migration[]> {
  const entries = await readdir(directory).catch((cause: unknown) => {
    throw new MigrationError(`cannot read the migrations of this version in ${directory}`, { cause });
  });
  const names = entries.filter((name) => name.endsWith(".sql")).sort();
  return Promise.all(
    names.map(async (name) => {
      const version = FILE_PATTERN.exec(name)?.[1];
      if (version === undefined) {
        throw new MigrationError(`migrations/${name} is not named like 0001_what_it_does.sql`);
      }
      // A checkout may have turned the line ends to CRLF; it is the same migration all the same.
      const sql = (await readFile(join(directory, name), "utf8")).replaceAll("\r\n", "\n");
      return { version: Number(version), name, sql, hash: createHash("sha256").update(sql).digest("hex") };
    }),
  );
}
