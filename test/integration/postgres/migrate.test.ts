import { copyFile, mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pino } from "pino";
import { type MigrateOptions, MigrationError, migrate } from "../../../src/postgres/migrate.js";
import { classifyFault } from "../../../src/postgres/sqlstate.js";
import { migrationsDirectory } from "../../../src/util/package-info.js";
import { createTestDatabase, type TestDatabase } from "../../support/database.js";
import { SilentProxy } from "../../support/silent-proxy.js";
import { createRole, lockWaiters, openTransaction } from "../../support/stats-database.js";

let database: TestDatabase;
let directory: string;

beforeEach(async () => {
  database = await createTestDatabase();
  directory = await mkdtemp(join(tmpdir(), "stats-migrations-"));
});

afterEach(async () => {
  await rm(directory, { recursive: true });
  await database.close();
});

async function write(files: Record<string, string>): Promise<void> {
  for (const [name, sql] of Object.entries(files)) {
    await writeFile(join(directory, name), sql);
  }
}

function run(options: Partial<MigrateOptions> = {}): Promise<string[]> {
  return migrate({
    url: database.url,
    directory,
    lockTimeoutMs: 60_000,
    answerTimeoutMs: 65_000,
    logger: pino({ level: "silent" }),
    ...options,
  });
}

async function failureOf(migration: Promise<unknown>): Promise<string> {
  const error = await migration.catch((reason: unknown) => reason);
  expect(error).toBeInstanceOf(MigrationError);
  return error instanceof Error ? error.message : "";
}

async function tables(): Promise<string[]> {
  const { rows } = await database.pool.query<{ name: string }>(
    "SELECT tablename AS name FROM pg_tables WHERE schemaname = 'public' ORDER BY 1",
  );
  return rows.map(({ name }) => name);
}

const FILES = {
  "0001_news.sql": "CREATE TABLE news (id integer); INSERT INTO news VALUES (1);",
  "0002_more_news.sql": "ALTER TABLE news ADD COLUMN title text;",
  "0010_titles.sql": "UPDATE news SET title = 'first';",
};

describe("migrate", () => {
  it("applies the files in the order of their numbers, and tells which", async () => {
    await write(FILES);
    expect(await run()).toEqual(["0001_news.sql", "0002_more_news.sql", "0010_titles.sql"]);
    const { rows } = await database.pool.query("SELECT * FROM news");
    expect(rows).toEqual([{ id: 1, title: "first" }]);
  });

  it("applies nothing twice", async () => {
    await write(FILES);
    await run();
    expect(await run()).toEqual([]);
  });

  it("applies what came since", async () => {
    const { "0010_titles.sql": latest, ...earlier } = FILES;
    await write(earlier);
    await run();
    await write({ "0010_titles.sql": latest });
    expect(await run()).toEqual(["0010_titles.sql"]);
  });

  it("takes a checkout with CRLF for the one with LF, whichever came first", async () => {
    const sql = "-- news\nCREATE TABLE news (id integer);\nCOMMENT ON TABLE news IS 'of\ntoday';\n";
    const [lf, crlf] = [{ "0001_news.sql": sql }, { "0001_news.sql": sql.replaceAll("\n", "\r\n") }];
    await write(crlf);
    expect(await run()).toEqual(["0001_news.sql"]);
    await write(lf);
    expect(await run()).toEqual([]);
    await write(crlf);
    expect(await run()).toEqual([]);
    const { rows } = await database.pool.query("SELECT obj_description('news'::regclass) AS comment");
    expect(rows).toEqual([{ comment: "of\ntoday" }]);
  });

  it("applies the files of this version to an empty database", async () => {
    await run({ directory: migrationsDirectory });
    expect(await tables()).toEqual(
      expect.arrayContaining(["incoming", "incoming_dead", "incoming_default", "stats_migrations"]),
    );
  });

  it("refuses a database that is newer than this version, and changes nothing", async () => {
    await write(FILES);
    await run();
    await rm(join(directory, "0010_titles.sql"));
    await write({ "0003_other.sql": "CREATE TABLE other ()" });
    expect(await failureOf(run())).toContain("0010_titles.sql");
    expect(await tables()).not.toContain("other");
  });

  it("refuses a file that was changed after it was applied, and changes nothing", async () => {
    await write(FILES);
    await run();
    await write({ "0002_more_news.sql": "-- changed", "0003_other.sql": "CREATE TABLE other ()" });
    expect(await failureOf(run())).toContain("0002_more_news.sql");
    expect(await tables()).not.toContain("other");
  });

  it("rolls back a file that fails, keeps those before it, and goes on there the next time", async () => {
    await write(FILES);
    await write({ "0002_more_news.sql": "CREATE TABLE half (); SELECT 1 / 0;" });
    await expect(run()).rejects.toMatchObject({ code: "22012" });
    expect(await tables()).toEqual(["news", "stats_migrations"]);
    await write(FILES);
    expect(await run()).toEqual(["0002_more_news.sql", "0010_titles.sql"]);
  });

  it("keeps no effect of a file that it cannot book", async () => {
    await write({
      "0001_news.sql": "CREATE TABLE news (); ALTER TABLE stats_migrations RENAME name TO title;",
    });
    await expect(run()).rejects.toMatchObject({ code: "42703" });
    expect(await tables()).toEqual([]);
  });

  it("lets one that runs at the same time wait, which then finds nothing to do", async () => {
    await write({ "0001_slow.sql": "SELECT pg_advisory_xact_lock(1); CREATE TABLE slow ();" });
    const holder = await openTransaction(database.pool, "SELECT pg_advisory_xact_lock(1)");
    const first = run();
    await lockWaiters(database.pool, 1);
    const second = run();
    await lockWaiters(database.pool, 2);
    await holder[Symbol.asyncDispose]();
    expect(await Promise.all([first, second])).toEqual([["0001_slow.sql"], []]);
  });

  it("does not wait for a lock for ever, and does all of it the next time", async () => {
    await write({ "0001_slow.sql": "CREATE TABLE slow (); SELECT pg_advisory_xact_lock(1);" });
    {
      await using _holder = await openTransaction(database.pool, "SELECT pg_advisory_xact_lock(1)");
      const error: unknown = await run({ lockTimeoutMs: 100 }).catch((reason: unknown) => reason);
      expect(classifyFault(error)).toBe("transient");
    }
    expect(await run({ lockTimeoutMs: 100 })).toEqual(["0001_slow.sql"]);
  });

  it.each(["SET LOCAL lock_timeout", "to_regclass", "FROM stats_migrations", "BEGIN", "COMMIT"])(
    "does not wait for ever for an answer to %s, and does all of it the next time",
    async (text) => {
      await write(FILES);
      await using proxy = await SilentProxy.start(database.url, text);
      const error: unknown = await run({ url: proxy.url, answerTimeoutMs: 200 }).catch(
        (reason: unknown) => reason,
      );
      expect(error).toMatchObject({ message: "Query read timeout" });
      expect(classifyFault(error)).toBe("transient");
      proxy.mend();
      expect(await run({ url: proxy.url })).toEqual(Object.keys(FILES));
    },
  );

  it("lets a file take longer than any other statement", async () => {
    await write({ "0001_slow.sql": "SELECT pg_sleep(1.2)" });
    expect(await run({ answerTimeoutMs: 1_000 })).toEqual(["0001_slow.sql"]);
  });

  it("lets a file take longer than the database lets a statement", async () => {
    const name = new URL(database.url).pathname.slice(1);
    await database.pool.query(`ALTER DATABASE ${name} SET statement_timeout = '100ms'`);
    await write({ "0001_long.sql": "SELECT pg_sleep(0.3)" });
    expect(await run()).toEqual(["0001_long.sql"]);
  });

  it("is through as soon as it is aborted in the middle of a file, which is undone", async () => {
    await write({ "0001_slow.sql": "CREATE TABLE slow (); SELECT pg_advisory_xact_lock(1);" });
    const controller = new AbortController();
    {
      await using _holder = await openTransaction(database.pool, "SELECT pg_advisory_xact_lock(1)");
      const aborted = expect(run({ signal: controller.signal })).rejects.toThrow("given up");
      await lockWaiters(database.pool);
      controller.abort(new Error("given up"));
      await aborted;
    }
    expect(await run()).toEqual(["0001_slow.sql"]);
  });

  it("lets the next one go on when one is killed in the middle", async () => {
    await write({ "0001_slow.sql": "CREATE TABLE slow (); SELECT pg_advisory_xact_lock(1);" });
    const holder = await openTransaction(database.pool, "SELECT pg_advisory_xact_lock(1)");
    const first = run();
    const killed = expect(first).rejects.toThrow();
    const [pid] = await lockWaiters(database.pool);
    await database.pool.query("SELECT pg_terminate_backend($1)", [pid]);
    await killed;
    await holder[Symbol.asyncDispose]();
    expect(await run()).toEqual(["0001_slow.sql"]);
  });

  it("needs no right to create anything when there is nothing to apply", async () => {
    const { "0010_titles.sql": latest, ...earlier } = FILES;
    await write(earlier);
    await run();
    await using role = await createRole(database, "GRANT SELECT ON stats_migrations TO $role");
    expect(await run({ url: role.url })).toEqual([]);
    await write({ "0010_titles.sql": latest });
    await expect(run({ url: role.url })).rejects.toMatchObject({ code: "42501" });
  });

  it.each(["1_news.sql", "0001-news.sql", "news.sql"])("refuses a file named %s", async (name) => {
    await write({ [name]: "SELECT 1" });
    expect(await failureOf(run())).toContain(name);
  });

  it("takes no notice of files that are not SQL", async () => {
    await write({ "README.md": "# Migrations" });
    expect(await run()).toEqual([]);
  });

  it("tells when its files are not there", async () => {
    const gone = join(directory, "gone");
    expect(await failureOf(run({ directory: gone }))).toContain(gone);
  });
});

describe("the migration that partitions incoming_dead", () => {
  const OLD_DAY = "00000000-0000-7000-8000-000000000001";

  it("keeps the dead letters and the rights of those who could use the table", async () => {
    const files = (await readdir(migrationsDirectory)).sort();
    const copy = (names: string[]) =>
      Promise.all(names.map((name) => copyFile(join(migrationsDirectory, name), join(directory, name))));
    await copy(files.slice(0, 2));
    await run();
    await database.pool.query(
      `INSERT INTO incoming_dead (id, payload, sqlstate, message, attempts) VALUES ('${OLD_DAY}', '', '', '', 1)`,
    );
    await using role = await createRole(database, "GRANT SELECT, INSERT ON incoming_dead TO $role");
    await copy(files);
    expect(await run()).toEqual(files.slice(2));
    const { rows } = await database.pool.query(
      `SELECT id, has_table_privilege($1, 'incoming_dead', 'INSERT') AS may_insert,
         has_table_privilege($1, 'incoming_dead', 'SELECT') AS may_select,
         has_table_privilege($1, 'incoming_dead', 'DELETE') AS may_delete FROM incoming_dead`,
      [role.name],
    );
    expect(rows).toEqual([{ id: OLD_DAY, may_insert: true, may_select: true, may_delete: false }]);
  });
});

describe("the migration that adds counts", () => {
  const row = (id: number) =>
    `INSERT INTO incoming (id, property, property_section, property_id, stamp)
     VALUES ('${String(id).padStart(8, "0")}-0000-7000-8000-000000000000', 'news', 1, ${id}, now())`;

  async function migrateUpTo(version: number): Promise<void> {
    for (const name of await readdir(migrationsDirectory)) {
      if (Number(name.slice(0, 4)) <= version) {
        await copyFile(join(migrationsDirectory, name), join(directory, name));
      }
    }
    await run();
  }

  it("marks the rows that were there, and takes all later ones as not counted, of older transactions too", async () => {
    await migrateUpTo(3);
    await database.pool.query(row(1));
    const older = await database.pool.connect();
    await older.query("BEGIN; SELECT txid_current();");
    await migrateUpTo(4);
    await older.query(`${row(2)}; COMMIT`);
    older.release();
    await database.pool.query(row(3));
    const { rows } = await database.pool.query(
      `SELECT property_id::integer AS item, tx = backfill_tx AS old, txid_visible_in_snapshot(tx, snapshot) AS counted
       FROM incoming, counts_state, counts_cluster WHERE tier = 'day' ORDER BY 1`,
    );
    expect(rows).toEqual([
      { item: 1, old: true, counted: true },
      { item: 2, old: false, counted: false },
      { item: 3, old: false, counted: false },
    ]);
    const backfill = await database.pool.query(
      "SELECT start_time = '-infinity' AND end_time = 'infinity' AS all FROM counts_backfill",
    );
    expect(backfill.rows).toEqual([{ all: true }]);
  });

  it("has nothing to count later in an empty database", async () => {
    await migrateUpTo(4);
    expect((await database.pool.query("SELECT FROM counts_backfill")).rowCount).toBe(0);
  });

  it("gets its lock between two inserts, and makes none wait longer than one try", async () => {
    await migrateUpTo(3);
    const writer = await openTransaction(database.pool, row(1));
    const migrating = migrateUpTo(4);
    await lockWaiters(database.pool);
    // It waits for the writer, so this one waits for it: until it gives up for now.
    await database.pool.query(`SET lock_timeout = '10s'; ${row(2)}`);
    await writer[Symbol.asyncDispose]();
    await migrating;
    const { rows } = await database.pool.query("SELECT count(tx)::integer AS rows FROM incoming");
    expect(rows).toEqual([{ rows: 2 }]);
  });

  it("gives the counts to those who could read and write the events", async () => {
    await migrateUpTo(3);
    await using reader = await createRole(database, "GRANT SELECT ON incoming TO $role");
    await using writer = await createRole(database, "GRANT SELECT, INSERT ON incoming TO $role");
    await migrateUpTo(4);
    const { rows } = await database.pool.query(
      `SELECT has_table_privilege(role, 'counts_hour', 'SELECT') AS may_read,
         has_table_privilege(role, 'counts_hour', 'UPDATE') AS may_write
       FROM unnest($1::text[]) WITH ORDINALITY AS roles (role, nr) ORDER BY nr`,
      [[reader.name, writer.name]],
    );
    expect(rows).toEqual([
      { may_read: true, may_write: false },
      { may_read: true, may_write: true },
    ]);
  });
});
