import { once } from "node:events";
import { connect } from "node:net";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import type { TestDatabase } from "../support/database.js";
import { newEventId, type PushRecord, push, pushMany } from "../support/pushes.js";
import { ServiceProcess } from "../support/service-process.js";
import { SilentProxy } from "../support/silent-proxy.js";
import { createServiceDatabase } from "../support/stats-database.js";

const SIGNAL_AT_FIRST_LISTENER = pathToFileURL(
  join(import.meta.dirname, "../support/signal-at-first-listener.js"),
).href;

let database: TestDatabase;

beforeAll(async () => {
  database = await createServiceDatabase();
});

afterAll(async () => {
  await database.close();
});

beforeEach(async () => {
  await database.pool.query("TRUNCATE incoming").catch(() => undefined);
});

async function expectExactlyTheAcknowledged({ acknowledged, failed }: PushRecord): Promise<void> {
  const { rows } = await database.pool.query<{ id: string }>("SELECT id FROM incoming");
  const stored = new Set(rows.map(({ id }) => id));
  expect([...acknowledged].filter((id) => !stored.has(id))).toEqual([]);
  // An event whose answer was lost on the way may be in the table; one that nobody pushed may not.
  expect([...stored].filter((id) => !acknowledged.has(id) && !failed.has(id))).toEqual([]);
}

test("SIGTERM right after 4,000 pushes loses none, and the exit status is 0", async () => {
  await using service = await ServiceProcess.start({ DATABASE_URL: database.url });
  const record = await pushMany(service.url, { count: 4_000, connections: 64 });
  const ending = await service.stop("SIGTERM");
  expect(ending).toEqual({ status: 0, signal: null });
  expect(record.acknowledged.size).toBe(4_000);
  await expectExactlyTheAcknowledged(record);
});

test("SIGINT to the whole process group in the middle of pushes loses no acknowledged one", async () => {
  const pushes = { count: 4_000, connections: 64 };
  await using service = await ServiceProcess.start({ DATABASE_URL: database.url });
  const record = await pushMany(service.url, pushes, (answers) => {
    if (answers === pushes.count / 2) {
      service.signalGroup("SIGINT");
    }
  });
  expect(await service.ended()).toEqual({ status: 0, signal: null });
  expect(record.acknowledged.size).toBeGreaterThanOrEqual(pushes.count / 2 - pushes.connections);
  expect(record.failed.size).toBeGreaterThan(0);
  await expectExactlyTheAcknowledged(record);
});

test("the Ctrl-C that npm start delivers twice counts as one", async () => {
  await using service = await ServiceProcess.npmStart({ DATABASE_URL: database.url, SPOOL_MAX_BYTES: "0" });
  const record = await pushMany(service.url, { count: 1000, connections: 8 });
  service.signalGroup("SIGINT");
  await service.ended();
  expect(service.find("stopped")).toMatchObject({ accepted: 1000, inserted: 1000, missing: 0 });
  await expectExactlyTheAcknowledged(record);
});

test("SIGTERM to npm start alone stops the service in order", async () => {
  await using service = await ServiceProcess.npmStart({ DATABASE_URL: database.url, SPOOL_MAX_BYTES: "0" });
  const record = await pushMany(service.url, { count: 100, connections: 8 });
  service.signal("SIGTERM");
  expect(await service.logged("stopped")).toMatchObject({ accepted: 100, inserted: 100, missing: 0 });
  await expectExactlyTheAcknowledged(record);
  await service.ended();
});

test.each([
  ["SIGHUP", "ready"],
  ["SIGTERM", "stopped"],
  ["SIGINT", "stopped"],
])("%s in the first moment does what it does later", async (signal, msg) => {
  await using service = ServiceProcess.spawn([], {
    DATABASE_URL: database.url,
    NODE_OPTIONS: `--import=${SIGNAL_AT_FIRST_LISTENER}`,
    EARLY_SIGNAL: signal,
  });
  await service.logged(msg);
  await service.stop();
  expect(await service.ended()).toEqual({ status: 0, signal: null });
});

/** Holds back all writes to `incoming` until it is called. */
async function holdWrites(): Promise<() => Promise<void>> {
  const client = await database.pool.connect();
  await client.query("BEGIN; LOCK TABLE incoming IN ACCESS EXCLUSIVE MODE");
  return async () => {
    await client.query("COMMIT");
    client.release();
  };
}

/** Sends the head of a Push and waits until the server asks for the body; `finish` sends it and reads the answer. */
async function beginRequest(port: number): Promise<{ finish(event: object): Promise<string> }> {
  const socket = connect(port, "127.0.0.1");
  socket.setEncoding("utf8");
  socket.write(
    "POST /stats.v1.StatsService/Push HTTP/1.1\r\nhost: test\r\ncontent-type: application/json\r\n" +
      "expect: 100-continue\r\ntransfer-encoding: chunked\r\n\r\n",
  );
  const [interim] = (await once(socket, "data")) as [string];
  expect(interim).toMatch(/^HTTP\/1\.1 100/);
  return {
    async finish(event) {
      const body = JSON.stringify(event);
      socket.write(`${body.length.toString(16)}\r\n${body}\r\n0\r\n\r\n`);
      let answer = "";
      for await (const part of socket) {
        answer += String(part);
      }
      return answer;
    },
  };
}

test("a push that arrives while the service drains gets UNAVAILABLE, and a durable one in flight its answer", async () => {
  await using service = await ServiceProcess.start({ DATABASE_URL: database.url });
  const release = await holdWrites();
  const event = { property: "news", section: 1, item: 1 };
  const durable = push(service.url, { ...event, event_id: newEventId(), ack: "ACK_MODE_DURABLE" });
  // A request whose head is on its way when the signal comes: its connection stays open for it.
  const late = await beginRequest(service.port);
  service.signal("SIGTERM");
  await service.logged("flusher: cancel received, draining");
  const answer = await late.finish(event);
  await release();

  expect(answer).toMatch(/^HTTP\/1\.1 503/);
  expect(answer).toContain('"code":"unavailable"');
  expect(answer).toContain("google.rpc.RetryInfo");
  expect((await durable).status).toBe(200);
  expect(await service.ended()).toEqual({ status: 0, signal: null });
  expect(service.find("stopped")).toMatchObject({ accepted: 1, inserted: 1, missing: 0 });
});

test("a second signal, later than a double Ctrl-C, exits at once with a non-zero status", async () => {
  await using service = await ServiceProcess.start({ DATABASE_URL: database.url, SPOOL_MAX_BYTES: "0" });
  const release = await holdWrites();
  await push(service.url, { property: "news", section: 1, item: 1 });
  service.signal("SIGTERM");
  await service.logged("flusher: cancel received, draining");
  const { status, signal } = await untilEnded(service, () => service.signal("SIGTERM"));
  await release();
  expect({ status, signal }).toEqual({ status: 143, signal: null });
});

test("a stop whose deadline passes with rows in memory and no spool says so and exits 1", async () => {
  await using service = await ServiceProcess.start({
    DATABASE_URL: database.url,
    SPOOL_MAX_BYTES: "0",
    SHUTDOWN_TIMEOUT_MS: "200",
  });
  const release = await holdWrites();
  await push(service.url, { property: "news", section: 1, item: 1 });
  const ending = await service.stop();
  await release();
  expect(ending).toEqual({ status: 1, signal: null });
  expect(service.log.find(({ level }) => level === "error")).toBeDefined();
  expect(service.find("stopped, but events are missing")).toMatchObject({ accepted: 1, queued: 1 });
});

/** Repeats `signal` until the process has ended: each is either swallowed as the same Ctrl-C or ends it. */
async function untilEnded(service: ServiceProcess, signal: () => void) {
  const timer = setInterval(signal, 100);
  try {
    return await service.ended();
  } finally {
    clearInterval(timer);
  }
}

test("SIGTERM while the start waits for a database that is silent ends it at once, in order", async () => {
  await using proxy = await SilentProxy.start(database.url, "SET LOCAL lock_timeout");
  await using service = ServiceProcess.spawn([], { DATABASE_URL: proxy.url });
  await proxy.fellSilent();
  expect(await service.stop("SIGTERM")).toEqual({ status: 0, signal: null });
  expect(service.find("stopped")).toMatchObject({ accepted: 0, missing: 0 });
  // It would say so if it had waited until it had to give the database up.
  expect(service.log.filter(({ level }) => level !== "info")).toEqual([]);
});
