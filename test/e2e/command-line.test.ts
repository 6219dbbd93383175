import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { createTestDatabase } from "../support/database.js";
import { newEventId, push } from "../support/pushes.js";
import { runCommand } from "../support/run-command.js";
import { ServiceProcess } from "../support/service-process.js";
import { createServiceDatabase } from "../support/stats-database.js";

/** The service starts without a database. */
const NO_DATABASE = "postgres://nobody@127.0.0.1:1/none";

async function runToEnd(args: string[], environment: Record<string, string> = {}) {
  await using service = ServiceProcess.spawn(args, environment);
  const { status } = await service.ended();
  return { status, stdout: service.stdout, stderr: service.stderr, log: service.log };
}

test("--version prints the version of package.json", async () => {
  const { version } = JSON.parse(await readFile(join(import.meta.dirname, "../../package.json"), "utf8"));
  expect(await runToEnd(["--version"])).toMatchObject({ status: 0, stdout: `${version}\n` });
});

test("migrate brings a database up to date, once", async () => {
  await using database = await createTestDatabase();
  const first = await runToEnd(["migrate"], { DATABASE_URL: database.url });
  expect(first).toMatchObject({ status: 0, stderr: "" });
  expect(first.stdout).toMatch(/^migration applied: 0001_incoming\.sql\n/);
  expect(first.stdout).toMatch(/^partitions made: incoming_\d{8} to incoming_\d{8}, incoming_dead_/m);
  expect(first.stdout).toMatch(/^the database is migrated$/m);
  const environment = { DATABASE_URL: database.url };
  expect(await runToEnd(["migrate"], environment)).toMatchObject({
    status: 0,
    stdout: "the database is up to date\n",
  });
  expect(await runToEnd(["migrate", "--json"], environment)).toMatchObject({
    status: 0,
    stdout: '{"applied":[]}\n',
  });
});

test("migrate fails when it cannot make partitions, and says why", async () => {
  await using database = await createServiceDatabase();
  const environment = { DATABASE_URL: database.url };
  await database.pool.query("ALTER TABLE incoming RENAME TO gone");
  expect(await runToEnd(["migrate"], environment)).toMatchObject({
    status: 1,
    stderr:
      "stats-service: the schema is up to date, but partitions could not be made: " +
      'relation "incoming" does not exist\n',
  });
});

test("migrate asks for a database", async () => {
  expect(await runToEnd(["migrate"])).toMatchObject({
    status: 2,
    stderr: expect.stringContaining("DATABASE_URL is not set"),
  });
});

test.each(["1", "2"])("a start that fails with WORKERS=%s says why, and no more", async (workers) => {
  await using first = await ServiceProcess.start({ DATABASE_URL: NO_DATABASE });
  const { status, log } = await runToEnd([], {
    DATABASE_URL: NO_DATABASE,
    PORT: String(first.port),
    WORKERS: workers,
  });
  expect(status).toBe(1);
  expect(log.filter(({ msg }) => msg === "cannot start")).toHaveLength(1);
  expect(log.filter(({ msg }) => msg === "stopped")).toEqual([]);
});

test("ready tells the URLs to call and to open", async () => {
  await using service = await ServiceProcess.start({ DATABASE_URL: NO_DATABASE, HOST: "0.0.0.0" });
  expect(service.find("ready")).toMatchObject({ url: service.url, adminUrl: service.adminUrl });
  expect((await fetch(service.adminUrl)).status).toBe(200);
});

test("the service refuses to run on a newer schema", async () => {
  await using database = await createServiceDatabase();
  await database.pool.query(
    "INSERT INTO stats_migrations (version, name, hash) VALUES (9999, '9999_future.sql', '')",
  );
  const { status, log } = await runToEnd([], { DATABASE_URL: database.url });
  expect(status).toBe(1);
  expect(log.find(({ level }) => level === "fatal")).toMatchObject({
    reason: expect.stringContaining("9999_future.sql"),
  });
});

test("dead letters are listed, and replayed once the cause is repaired", async () => {
  await using database = await createServiceDatabase();
  const environment = { DATABASE_URL: database.url };
  await database.pool.query("ALTER TABLE incoming ADD CONSTRAINT no_shop CHECK (property <> 'shop')");
  await using service = await ServiceProcess.start(environment);
  const eventId = newEventId();
  const event = { property: "shop", section: 1, item: 1, event_id: eventId };
  await push(service.url, { ...event, ack: "ACK_MODE_DURABLE" });
  await service.stop();

  const listed = await runCommand(["dead", "list"], environment);
  expect(listed).toMatchObject({ status: 0, stdout: expect.stringContaining(eventId) });
  expect(listed.stdout).toContain("no_shop");
  const refused = await runCommand(["dead", "replay"], environment);
  expect(refused).toMatchObject({ status: 1, stdout: expect.stringMatching(/^0 replayed, .* 1 refused/) });

  await database.pool.query("ALTER TABLE incoming DROP CONSTRAINT no_shop");
  const replayed = await runCommand(["dead", "replay", eventId], environment);
  expect(replayed).toMatchObject({ status: 0, stdout: expect.stringMatching(/^1 replayed, /) });
  const { rows } = await database.pool.query("SELECT id FROM incoming");
  expect(rows).toEqual([{ id: eventId }]);
  expect(await runCommand(["dead", "list"], environment)).toMatchObject({
    status: 0,
    stdout: "no dead letters\n",
  });
});

test("dead replay says which ids no dead letter has, and takes ids only", async () => {
  await using database = await createServiceDatabase();
  const environment = { DATABASE_URL: database.url };
  const id = newEventId();
  expect(await runCommand(["dead", "replay", id], environment)).toMatchObject({
    status: 1,
    stdout: expect.stringContaining(`no dead letter has the id ${id}`),
  });
  expect(await runCommand(["dead", "replay", "nonsense"], environment)).toMatchObject({
    status: 2,
    stderr: "stats-service: not an id of a dead letter: nonsense\nTry: stats-service dead replay --help\n",
  });
});
