import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { createTestDatabase } from "../support/database.js";
import { ServiceProcess } from "../support/service-process.js";

async function runToEnd(args: string[], environment: Record<string, string> = {}) {
  await using service = ServiceProcess.spawn(args, environment);
  const { status } = await service.ended();
  return { status, stdout: service.stdout, stderr: service.stderr, log: service.log };
}

test("--version prints the version of package.json", async () => {
  const { version } = JSON.parse(await readFile(join(import.meta.dirname, "../../package.json"), "utf8"));
  expect(await runToEnd(["--version"])).toMatchObject({ status: 0, stdout: `${version}\n` });
});

test("--help names the commands and every setting", async () => {
  const { status, stdout } = await runToEnd(["--help"]);
  expect(status).toBe(0);
  for (const word of ["serve", "migrate", "DATABASE_URL", "QUEUE_MAX_BYTES", "LOG_LEVEL"]) {
    expect(stdout).toContain(word);
  }
});

test("an unknown command says how to get help", async () => {
  const { status, stderr } = await runToEnd(["surf"]);
  expect(status).toBe(2);
  expect(stderr).toBe("stats-service: unknown command: surf\nTry: stats-service --help\n");
});

test("all settings that cannot be used are named at once", async () => {
  const { status, stderr } = await runToEnd([], { PORT: "http", FLUSH_MAX_ROWS: "0", LOG_LEVEL: "loud" });
  expect(status).toBe(2);
  expect(stderr).toMatch(/PORT: .*\n.*FLUSH_MAX_ROWS: .*\n.*LOG_LEVEL: /);
});

test("migrate brings a database up to date, once", async () => {
  await using database = await createTestDatabase();
  const first = await runToEnd(["migrate"], { DATABASE_URL: database.url });
  expect(first).toMatchObject({ status: 0 });
  expect(first.log.some(({ msg }) => msg === "the database is migrated")).toBe(true);
  const second = await runToEnd(["migrate"], { DATABASE_URL: database.url });
  expect(second.log.some(({ msg }) => msg === "the database is up to date")).toBe(true);
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
