import { once } from "node:events";
import { mkdtemp, readdir, rm } from "node:fs/promises";
import { Agent } from "node:http";
import { type AddressInfo, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createClient } from "@connectrpc/connect";
import { createGrpcTransport, Http2SessionManager } from "@connectrpc/connect-node";
import { AckMode, StatsService } from "../../gen/stats/v1/stats_pb.js";
import type { ServiceStatus } from "../../src/telemetry/service-status.js";
import { DirectoryLock } from "../../src/util/directory-lock.js";
import type { TestDatabase } from "../support/database.js";
import { FaultProxy } from "../support/fault-proxy.js";
import { freePort } from "../support/free-port.js";
import { newEventId, push, pushMany } from "../support/pushes.js";
import { Scrape } from "../support/scrape.js";
import { ServiceProcess } from "../support/service-process.js";
import { createServiceDatabase } from "../support/stats-database.js";
import { newToken, TestTokenFile } from "../support/tokens.js";
import { until } from "../support/wait.js";
import { linesOf, replaceWorker, signalWorker } from "../support/workers.js";

let spoolDir: string;
let database: TestDatabase;

beforeEach(async () => {
  spoolDir = await mkdtemp(join(tmpdir(), "stats-workers-"));
  database = await createServiceDatabase();
});

afterEach(async () => {
  await database.close();
  await rm(spoolDir, { recursive: true, force: true });
});

function settings(workers: number): Record<string, string> {
  return { WORKERS: String(workers), DATABASE_URL: database.url, SPOOL_DIR: spoolDir };
}

/** The same, with a PostgreSQL that nobody has started. */
async function withoutPostgres(workers: number): Promise<Record<string, string>> {
  const url = `postgres://nobody@127.0.0.1:${await freePort()}/none`;
  return { ...settings(workers), DATABASE_URL: url };
}

async function rowIds(): Promise<string[]> {
  const { rows } = await database.pool.query<{ id: string }>("SELECT id FROM incoming");
  return rows.map(({ id }) => id).sort();
}

async function expectRowFor(acknowledged: ReadonlySet<string>): Promise<void> {
  const stored = new Set(await rowIds());
  expect([...acknowledged].filter((id) => !stored.has(id))).toEqual([]);
}

/** The answer of the admin port, `status body`. */
async function probe(service: ServiceProcess, path: string): Promise<string> {
  const response = await fetch(service.adminUrl + path);
  return `${response.status} ${(await response.text()).trimEnd()}`;
}

const DURABLE = "ACK_MODE_DURABLE";
const LOAD = { count: 2_000, connections: 32 };

test("connections, of HTTP/1.1 and HTTP/2, are spread over the workers, each OK is one row, and the books add up", async () => {
  await using service = await ServiceProcess.start(settings(2));
  const { acknowledged, failed } = await pushMany(service.url, { count: 1_996, connections: 64 });
  expect([acknowledged.size, failed.size]).toEqual([1_996, 0]);
  for (let connection = 1; connection <= 4; connection++) {
    const sessionManager = new Http2SessionManager(service.url);
    const stats = createClient(StatsService, createGrpcTransport({ baseUrl: service.url, sessionManager }));
    const eventId = newEventId();
    await stats.push({ property: "news", section: 1, item: connection, eventId, ack: AckMode.DURABLE });
    acknowledged.add(eventId);
    sessionManager.abort();
  }
  expect(await service.stop()).toEqual({ status: 0, signal: null });

  const accepted = [1, 2].map((worker) => Number(linesOf(service, worker, "stopped")[0]?.accepted));
  expect(Math.min(...accepted)).toBeGreaterThan(0);
  expect(linesOf(service, undefined, "stopped")).toEqual([
    expect.objectContaining({ accepted: 2_000, inserted: 2_000, missing: 0, workers: 2 }),
  ]);
  expect(service.log.at(-1)).toMatchObject({ msg: "stopped", accepted: 2_000 });
  expect(service.log.filter(({ msg }) => msg === "ready")).toHaveLength(1);
  expect(await rowIds()).toEqual([...acknowledged].sort());
});

test.each([
  ["SIGTERM to the primary", (service: ServiceProcess) => service.signal("SIGTERM")],
  ["the Ctrl-C of a terminal", (service: ServiceProcess) => service.signalGroup("SIGINT")],
])("%s in the middle of the load loses no acknowledged event", async (_, interrupt) => {
  await using service = await ServiceProcess.start(settings(2));
  const { acknowledged, failed } = await pushMany(service.url, LOAD, (answers) => {
    if (answers === LOAD.count / 2) {
      interrupt(service);
    }
  });
  expect(await service.ended()).toEqual({ status: 0, signal: null });
  expect(failed.size).toBeGreaterThan(0);
  await expectRowFor(acknowledged);
});

test("a worker that is killed is replaced, no durable event is lost, and the exit status tells of it", async () => {
  await using service = await ServiceProcess.start(settings(2));
  let replaced = Promise.resolve();
  const load = { count: 2_000, connections: 32, ack: DURABLE };
  const { acknowledged } = await pushMany(service.url, load, (answers) => {
    if (answers === load.count / 4) {
      replaced = replaceWorker(service, 1);
    }
  });
  await replaced;
  const { port } = service;
  expect(await service.logged("the worker takes events again")).toMatchObject({ worker: 1, port });
  expect(await probe(service, "/healthz")).toBe("200 ok");
  const after = await pushMany(service.url, { count: 100, connections: 4 });
  expect(after.failed.size).toBe(0);

  expect(await service.stop()).toEqual({ status: 1, signal: null });
  expect(linesOf(service, 1, "stopped")).toHaveLength(1);
  expect(service.log.at(-1)).toMatchObject({ level: "error", unsound: [1] });
  await expectRowFor(acknowledged);
  await expectRowFor(after.acknowledged);
});

test("a worker that hangs is told of and kept; once killed, its successor replays its spool, and no more than it had in memory is lost", async () => {
  await using proxy = await FaultProxy.inFrontOf(database.url);
  proxy.set("refuse");
  await using service = await ServiceProcess.start({ ...settings(2), DATABASE_URL: proxy.url });
  const acknowledged = new Set<string>();
  const pushDurable = async () => {
    const pushed = await pushMany(service.url, { count: 100, connections: 32, ack: DURABLE });
    expect(pushed.failed.size).toBe(0);
    for (const id of pushed.acknowledged) {
      acknowledged.add(id);
    }
  };
  // Which worker a connection comes to is the system's choice.
  await until(async () => {
    await pushDurable();
    return (await readdir(join(spoolDir, "worker-1"))).some((name) => name.endsWith(".batch"));
  }, "the first worker to spool");
  signalWorker(service, 1, "SIGSTOP");
  expect(await service.logged("a worker hangs; it is let alone, and may come back")).toMatchObject({
    level: "error",
    worker: 1,
  });
  expect(await probe(service, "/healthz")).toMatch(/^503 worker 1: it has not been heard of for 1\d s$/);
  const meanwhile = await pushMany(service.url, { count: 100, connections: 4, ack: DURABLE });
  expect(meanwhile.failed.size).toBe(0);

  signalWorker(service, 1, "SIGCONT");
  await service.logged("the worker is heard of again");
  expect(await probe(service, "/healthz")).toBe("200 ok");

  const queued = await pushMany(service.url, { count: 200, connections: 32 });
  expect(queued.failed.size).toBe(0);
  signalWorker(service, 1, "SIGSTOP");
  await replaceWorker(service, 1);
  proxy.set("pass");
  await allReplayed();
  expect(await service.stop()).toEqual({ status: 1, signal: null });
  // The books are those of the other worker and of the successor.
  const books = service.log.at(-1);
  expect(books).toMatchObject({ level: "error", unsound: [1], buffered: 0, missing: 0 });
  expect(Number(books?.recovered)).toBeGreaterThan(0);
  const rows = await rowIds();
  expect(rows).toHaveLength(Number(books?.accepted) + Number(books?.recovered));
  await expectRowFor(new Set([...acknowledged, ...meanwhile.acknowledged]));
});

/** Resolves when no batch is left in any folder. */
function allReplayed(): Promise<void> {
  return until(async () => (await batchFiles()).length === 0, "the replay of all batches");
}

async function batchFiles(): Promise<string[]> {
  const paths = await readdir(spoolDir, { recursive: true });
  return paths.filter((path) => path.endsWith(".batch"));
}

test("what three workers left in the spool is replayed by one", async () => {
  await using first = await ServiceProcess.start(await withoutPostgres(3));
  const { acknowledged } = await pushMany(first.url, { count: 100, connections: 12, ack: DURABLE });
  expect(acknowledged.size).toBe(100);
  expect(await first.stop()).toEqual({ status: 0, signal: null });
  expect(await batchFiles()).not.toEqual([]);

  await using second = await ServiceProcess.start(settings(1));
  await allReplayed();
  expect(await second.stop()).toEqual({ status: 0, signal: null });
  expect(second.log.at(-1)).toMatchObject({ recovered: 100, inserted: 100, buffered: 0, missing: 0 });
  expect(await rowIds()).toEqual([...acknowledged].sort());
});

test("workers whose primary is killed write what they hold, and end", async () => {
  await using service = await ServiceProcess.start({ ...settings(2), FLUSH_INTERVAL_MS: "60000" });
  const { acknowledged } = await pushMany(service.url, { count: 200, connections: 8 });
  expect(acknowledged.size).toBe(200);
  // Resolves when no process is left that could write to the log.
  expect(await service.stop("SIGKILL")).toMatchObject({ signal: "SIGKILL" });
  for (const worker of [1, 2]) {
    expect(linesOf(service, worker, "stopped")).toHaveLength(1);
  }
  expect(await rowIds()).toEqual([...acknowledged].sort());
});

test("a second signal ends the workers, too, at once and with a non-zero status", async () => {
  await using service = await ServiceProcess.start({ ...settings(2), SPOOL_MAX_BYTES: "0" });
  const client = await database.pool.connect();
  await client.query("BEGIN; LOCK TABLE incoming IN ACCESS EXCLUSIVE MODE");
  await push(service.url, { property: "news", section: 1, item: 1 });
  service.signal("SIGTERM");
  await service.logged("flusher: cancel received, draining");
  const again = setInterval(() => service.signal("SIGTERM"), 100);
  const ending = await service.ended();
  clearInterval(again);
  await client.query("COMMIT");
  client.release();
  expect(ending).toEqual({ status: 143, signal: null });
});

test("a Ctrl-C while the workers are being started ends them in order", async () => {
  await using service = ServiceProcess.spawn([], settings(2));
  await service.loggedWhere(({ worker }) => worker !== undefined);
  service.signalGroup("SIGINT");
  expect(await service.ended()).toEqual({ status: 0, signal: null });
  expect(service.find("ready")).toBeUndefined();
  expect(service.log.filter(({ level }) => level === "fatal")).toEqual([]);
});

test("SIGHUP lets each worker read the tokens again, and ends none", async () => {
  const [before, after] = [newToken(), newToken()];
  await using file = await TestTokenFile.create(before);
  await using service = await ServiceProcess.start({ ...settings(2), AUTH_TOKENS_FILE: file.path });
  await file.hold(after);
  service.signalGroup("SIGHUP");
  for (const worker of [1, 2]) {
    // The first time was its start. The group's signal and the primary's may make one of them read more than once more.
    await service.loggedWhere((line) => line.msg === "tokens loaded" && line.worker === worker, 2);
  }
  const headers = { authorization: `Bearer ${after.text}` };
  const event = { property: "news", section: 1, item: 1 };
  const answers = await Promise.all(
    Array.from({ length: 20 }, () => push(service.url, event, new Agent(), headers)),
  );
  expect(answers.map(({ status }) => status)).toEqual(answers.map(() => 200));
  expect(await service.stop()).toEqual({ status: 0, signal: null });
});

test("a port that is in use ends the start of all workers with one line", async () => {
  const other = createServer().listen(0, "127.0.0.1");
  await once(other, "listening");
  try {
    const { port } = other.address() as AddressInfo;
    await expectNoStart({ PORT: String(port) }, /^PORT: port \d+ on 127\.0\.0\.1 is in use/);
  } finally {
    other.close();
  }
});

test("a SPOOL_DIR of another service ends the start of all workers with one line", async () => {
  await using _lock = await DirectoryLock.acquire(spoolDir);
  await expectNoStart({}, /^SPOOL_DIR: .* is in use/);
});

test("a spool of one worker that is in use ends the start with one line", async () => {
  await using _lock = await DirectoryLock.acquire(join(spoolDir, "worker-2"));
  await expectNoStart({}, /^SPOOL_DIR: .*worker-2 is in use/);
});

async function expectNoStart(faulty: Record<string, string>, line: RegExp): Promise<void> {
  await using service = ServiceProcess.spawn([], { ...settings(2), ...faulty });
  expect(await service.ended()).toEqual({ status: 1, signal: null });
  const fatal = service.log.filter(({ level }) => level === "fatal");
  expect(fatal).toEqual([expect.objectContaining({ reason: expect.stringMatching(line) })]);
}

test("the admin port is the primary's: status and metrics of all workers together, with one that was just killed; not alive when one keeps dying", async () => {
  await using service = await ServiceProcess.start({ ...settings(2), LAME_DUCK_MS: "2000" });
  expect(await probe(service, "/healthz")).toBe("200 ok");
  expect(await probe(service, "/readyz")).toBe("200 ok");
  const { acknowledged } = await pushMany(service.url, { count: 400, connections: 32, ack: DURABLE });
  const response = await fetch(`${service.adminUrl}/status`);
  const status = (await response.json()) as ServiceStatus;
  expect(status.uptimeMs).toBeGreaterThan(0);
  expect(status).toMatchObject({
    processes: 2,
    liveness: { ok: true },
    readiness: { ok: true },
    events: { accepted: acknowledged.size, inserted: acknowledged.size },
    queue: { rows: 0 },
    database: { ok: true },
  });
  const scrape = await Scrape.of(service.adminUrl);
  expect(scrape.sum("stats_events_accepted_total")).toBe(acknowledged.size);
  expect(scrape.missing).toBe(0);

  const replaced = replaceWorker(service, 2);
  await service.loggedWhere(({ worker, level }) => worker === 2 && level === "error");
  const after = await Scrape.of(service.adminUrl);
  expect(after.sum("stats_events_accepted_total")).toBe(acknowledged.size);
  expect(after.sum("stats_ready")).toBe(1);
  await replaced;

  await replaceWorker(service, 2);
  await replaceWorker(service, 2);
  expect(await probe(service, "/healthz")).toMatch(/^503 worker 2: it keeps dying, 3 times in a row/);
  expect(await probe(service, "/readyz")).toBe("200 ok");
  service.signal("SIGTERM");
  await service.loggedWhere(({ signal }) => signal === "SIGTERM");
  expect(await probe(service, "/readyz")).toBe("503 stopping");
  expect(await service.ended()).toEqual({ status: 1, signal: null });
});
