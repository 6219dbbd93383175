import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { serviceSettings, settingDoc } from "../../src/config.js";
import { createTestDatabase } from "../support/database.js";
import { newEventId, push } from "../support/pushes.js";
import { ServiceProcess } from "../support/service-process.js";

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

test("--help names the commands, and that of serve every setting of the service", async () => {
  const { status, stdout } = await runToEnd(["--help"]);
  expect(status).toBe(0);
  for (const command of ["serve", "migrate", "status", "push", "dead", "retention", "token"]) {
    expect(stdout).toMatch(new RegExp(`^  ${command} `, "m"));
  }
  const ofServe = await runToEnd(["serve", "--help"]);
  for (const name of serviceSettings) {
    expect(ofServe.stdout).toMatch(new RegExp(`^  ${settingDoc(name).name}( |$)`, "m"));
  }
});

test.each([
  [
    ["push", "--help"],
    ["--property <NAME>", "77 if it refuses", "STATS_URL"],
  ],
  [["help", "push"], ["--property <NAME>"]],
  [
    ["token", "create", "--help"],
    ["--expires <90d|DATE>", "AUTH_TOKENS_FILE"],
  ],
  [
    ["help", "dead"],
    ["list", "replay"],
  ],
])("%j tells of that command alone", async (args, words) => {
  const { status, stdout } = await runToEnd(args);
  expect(status).toBe(0);
  for (const word of words) {
    expect(stdout).toContain(word);
  }
  expect(stdout).not.toContain("QUEUE_MAX_BYTES");
});

test.each([
  [["surf"], "unknown command 'surf'", "Try: stats-service --help"],
  [["constructor"], "unknown command 'constructor'", "Try: stats-service --help"],
  [["stauts"], "unknown command 'stauts'\n(Did you mean status?)", "Try: stats-service --help"],
  [["dead", "replya"], "unknown command 'replya'\n(Did you mean replay?)", "Try: stats-service dead --help"],
  [
    ["push", "--proprety", "x"],
    "unknown option '--proprety'\n(Did you mean --property?)",
    "Try: stats-service push --help",
  ],
  [["dead", "replay", "--limit", "5"], "unknown option '--limit'", "Try: stats-service dead replay --help"],
  [
    ["migrate", "now"],
    "too many arguments for 'migrate'. Expected 0 arguments but got 1.",
    "Try: stats-service migrate --help",
  ],
])("%j says what is wrong, and how to get help", async (args, message, hint) => {
  const { status, stderr } = await runToEnd(args);
  expect(status).toBe(2);
  expect(stderr).toBe(`stats-service: ${message}\n${hint}\n`);
});

test("a command looks at no setting that it does not need", async () => {
  const environment = { RETENTION_DAYS: "many", PORT: "http", QUEUE_MAX_BYTES: "none", ADMIN_PORT: "1" };
  const { status, stderr } = await runToEnd(["status"], environment);
  expect(status).toBe(69);
  expect(stderr).toContain("no service answers at http://127.0.0.1:1");
});

test("all settings that cannot be used are named at once", async () => {
  const { status, stderr } = await runToEnd([], { PORT: "http", FLUSH_MAX_ROWS: "0", LOG_LEVEL: "loud" });
  expect(status).toBe(2);
  expect(stderr).toMatch(/PORT: .*\n.*FLUSH_MAX_ROWS: .*\n.*LOG_LEVEL: /);
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
  await using database = await createTestDatabase();
  const environment = { DATABASE_URL: database.url };
  await runToEnd(["migrate"], environment);
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
  await using database = await createTestDatabase();
  await runToEnd(["migrate"], { DATABASE_URL: database.url });
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
  await using database = await createTestDatabase();
  const environment = { DATABASE_URL: database.url };
  await runToEnd(["migrate"], environment);
  await database.pool.query("ALTER TABLE incoming ADD CONSTRAINT no_shop CHECK (property <> 'shop')");
  await using service = await ServiceProcess.start(environment);
  const eventId = newEventId();
  const event = { property: "shop", section: 1, item: 1, event_id: eventId };
  await push(service.url, { ...event, ack: "ACK_MODE_DURABLE" });
  await service.stop();

  const listed = await runToEnd(["dead", "list"], environment);
  expect(listed).toMatchObject({ status: 0, stdout: expect.stringContaining(eventId) });
  expect(listed.stdout).toContain("no_shop");
  const refused = await runToEnd(["dead", "replay"], environment);
  expect(refused).toMatchObject({ status: 1, stdout: expect.stringMatching(/^0 replayed, .* 1 refused/) });

  await database.pool.query("ALTER TABLE incoming DROP CONSTRAINT no_shop");
  const replayed = await runToEnd(["dead", "replay", eventId], environment);
  expect(replayed).toMatchObject({ status: 0, stdout: expect.stringMatching(/^1 replayed, /) });
  const { rows } = await database.pool.query("SELECT id FROM incoming");
  expect(rows).toEqual([{ id: eventId }]);
  expect(await runToEnd(["dead", "list"], environment)).toMatchObject({
    status: 0,
    stdout: "no dead letters\n",
  });
});

test("dead replay says which ids no dead letter has, and takes ids only", async () => {
  await using database = await createTestDatabase();
  const environment = { DATABASE_URL: database.url };
  await runToEnd(["migrate"], environment);
  const id = newEventId();
  expect(await runToEnd(["dead", "replay", id], environment)).toMatchObject({
    status: 1,
    stdout: expect.stringContaining(`no dead letter has the id ${id}`),
  });
  expect(await runToEnd(["dead", "replay", "nonsense"], environment)).toMatchObject({
    status: 2,
    stderr: "stats-service: not an id of a dead letter: nonsense\nTry: stats-service dead replay --help\n",
  });
});
