import { Agent } from "node:http";
import { createTestDatabase } from "../support/database.js";
import { freePort } from "../support/free-port.js";
import { type Answer, push } from "../support/pushes.js";
import { runCommand } from "../support/run-command.js";
import { ServiceProcess } from "../support/service-process.js";
import { createServiceDatabase } from "../support/stats-database.js";
import { until } from "../support/wait.js";

function status(args: string[], environment: Record<string, string> = {}) {
  return runCommand(["status", ...args], environment);
}

test("status tells an operator, and a script, how a running service is", async () => {
  await using database = await createServiceDatabase();
  await using service = await ServiceProcess.start({ DATABASE_URL: database.url });
  await push(service.url, { property: "news", section: 3, item: 42, ack: "ACK_MODE_DURABLE" });

  const shown = await status([], { ADMIN_PORT: new URL(service.adminUrl).port });
  expect([shown.status, shown.stderr]).toEqual([0, ""]);
  expect(shown.stdout).toContain("alive, ready\n");
  expect(shown.stdout).toMatch(/last success \d/);

  const { stdout } = await status(["--json", "--admin-url", service.adminUrl]);
  expect(JSON.parse(stdout)).toMatchObject({
    processes: 1,
    readiness: { ok: true },
    events: { accepted: 1, inserted: 1 },
    queue: { rows: 0, maxBytes: expect.any(Number) },
    buffer: null,
    flush: { lastSuccessAt: expect.stringMatching(/Z$/), fault: null },
    database: { ok: true, daysAhead: 7, rowsInDefault: 0, deadLetters: 0 },
  });
});

test("status exits with 1 when the service is not ready, and says why", async () => {
  await using database = await createServiceDatabase();
  await using service = await ServiceProcess.start({ DATABASE_URL: database.url, LAME_DUCK_MS: "60000" });
  service.signal("SIGTERM");
  await service.logged("stopping; a second signal exits at once and loses what is queued in memory");
  const shown = await status(["--admin-url", service.adminUrl]);
  expect([shown.status, shown.stdout]).toEqual([1, expect.stringContaining("NOT READY: stopping")]);
});

test("status names a worker that takes no events, while another does", async () => {
  await using service = await ServiceProcess.start({
    DATABASE_URL: `postgres://127.0.0.1:${await freePort()}/stats`,
    WORKERS: "2",
    QUEUE_MAX_BYTES: "262144",
  });
  // By one connection, so to one worker.
  const agent = new Agent({ keepAlive: true, maxSockets: 1 });
  let answer: Answer;
  do {
    answer = await push(service.url, { property: "news", section: 3, item: 42 }, agent);
  } while (answer.status === 200);
  agent.destroy();
  expect(answer.body.code).toBe("resource_exhausted");
  const { worker } = await service.logged("not ready");
  // The primary hears of it from the worker.
  const told = async () => (await fetch(`${service.adminUrl}/status`)).text();
  await until(async () => (await told()).includes("nearly used up"), "the primary to hear of it");
  const shown = await status(["--admin-url", service.adminUrl]);
  expect([shown.status, shown.stdout]).toEqual([
    0,
    expect.stringContaining(
      `PARTLY READY: worker ${String(worker)}: the room for events is nearly used up\n`,
    ),
  ]);
});

test("status exits with 69 when nobody answers", async () => {
  const shown = await status([], { ADMIN_PORT: String(await freePort()) });
  expect([shown.status, shown.stdout]).toEqual([69, ""]);
  expect(shown.stderr).toMatch(
    /^stats-service: no service answers at http:\/\/127\.0\.0\.1:\d+: .*ECONNREFUSED/,
  );
});

test("status asks for an address that it can use", async () => {
  expect(await status(["--admin-url", "localhost:3001"])).toMatchObject({
    status: 2,
    stderr: expect.stringContaining("It takes a URL"),
  });
  expect(await status([], { ADMIN_PORT: "0" })).toMatchObject({
    status: 2,
    stderr: expect.stringContaining("--admin-url"),
  });
});

test.each([["1"], ["2"]])("the admin port shows people the same, with WORKERS=%s", async (WORKERS) => {
  // Empty, so that the start makes the tables, with several workers, too.
  await using database = await createTestDatabase();
  await using service = await ServiceProcess.start({ DATABASE_URL: database.url, WORKERS });
  const page = await fetch(`${service.adminUrl}/`);
  expect([page.status, page.headers.get("content-type")]).toEqual([200, "text/html; charset=utf-8"]);
});

test("the admin port listens on ADMIN_HOST, where status finds it", async () => {
  const adminPort = await freePort();
  await using service = await ServiceProcess.start({
    DATABASE_URL: "postgres://nobody@127.0.0.1:1/none",
    HOST: "::",
    ADMIN_HOST: "127.0.0.2",
    ADMIN_PORT: String(adminPort),
  });
  const adminUrl = `http://127.0.0.2:${adminPort}`;
  expect(service.find("ready")).toMatchObject({ host: "::", adminUrl });
  for (const host of ["127.0.0.1", "[::1]"]) {
    const url = `http://${host}:${service.port}`;
    expect(await push(url, { property: "news", section: 1, item: 1 })).toMatchObject({ status: 200 });
    await expect(fetch(`http://${host}:${adminPort}/healthz`)).rejects.toThrow();
  }
  await using status = ServiceProcess.spawn(["status", "--json"], {
    HOST: "::",
    ADMIN_HOST: "127.0.0.2",
    ADMIN_PORT: String(adminPort),
  });
  await status.ended();
  expect(JSON.parse(status.stdout)).toMatchObject({ liveness: { ok: true } });
});
