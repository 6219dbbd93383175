import { execFile } from "node:child_process";
import { mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { encodeBatchHeader } from "../../src/buffer/batch-file.js";
import { spoolFileName, temporaryName } from "../../src/buffer/spool/spool-recovery.js";
import type { TestDatabase } from "../support/database.js";
import { encodeBatch, rowsAt } from "../support/encoded.js";
import { FaultProxy } from "../support/fault-proxy.js";
import { freePort } from "../support/free-port.js";
import { push, pushMany } from "../support/pushes.js";
import { ServiceProcess } from "../support/service-process.js";
import { createServiceDatabase } from "../support/stats-database.js";

const REPLAYED = "buffer: all of it is replayed";
const FLUSH_FAILED = "flush failed; the batch is kept and tried again";
const DISK_HANGS = "spool: the disk does not answer; it is left alone until it does";

let directory: string;
let database: TestDatabase;

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "stats-spool-"));
  database = await createServiceDatabase();
});

afterEach(async () => {
  await database.close();
  await rm(directory, { recursive: true, force: true });
});

/** Settings for a service whose PostgreSQL nobody has started. */
async function withoutPostgres(): Promise<Record<string, string>> {
  return { DATABASE_URL: `postgres://nobody@127.0.0.1:${await freePort()}/none`, SPOOL_DIR: directory };
}

function withPostgres(): Record<string, string> {
  return { DATABASE_URL: database.url, SPOOL_DIR: directory };
}

async function spoolFiles(): Promise<string[]> {
  return (await readdir(directory)).filter((name) => name.endsWith(".batch"));
}

async function rowIds(): Promise<string[]> {
  const { rows } = await database.pool.query<{ id: string }>("SELECT id FROM incoming");
  return rows.map(({ id }) => id).sort();
}

const durably = (count: number) => ({ count, connections: 5, ack: "ACK_MODE_DURABLE" });

test("what was acknowledged as durable without PostgreSQL survives SIGKILL, and is a row after the next start", async () => {
  await using first = await ServiceProcess.start(await withoutPostgres());
  const { acknowledged, failed } = await pushMany(first.url, durably(200));
  expect([acknowledged.size, failed.size]).toEqual([200, 0]);
  expect(await first.stop("SIGKILL")).toMatchObject({ signal: "SIGKILL" });
  expect(await spoolFiles()).not.toEqual([]);

  await using second = await ServiceProcess.start(withPostgres());
  expect(await second.logged(REPLAYED)).toMatchObject({ rows: 200 });
  expect(await second.stop()).toMatchObject({ status: 0 });
  expect(second.find("stopped")).toMatchObject({ recovered: 200, inserted: 200, buffered: 0, missing: 0 });
  expect(await rowIds()).toEqual([...acknowledged].sort());
  expect(await spoolFiles()).toEqual([]);
});

test("what is queued when the service is stopped without PostgreSQL goes to the spool, and the exit status is 0", async () => {
  await using first = await ServiceProcess.start({
    ...(await withoutPostgres()),
    FLUSH_INTERVAL_MS: "60000",
  });
  const { acknowledged } = await pushMany(first.url, { count: 200, connections: 5 });
  expect(await first.stop()).toMatchObject({ status: 0 });
  expect(first.find("stopped")).toMatchObject({ accepted: 200, buffered: 200, missing: 0 });

  await using second = await ServiceProcess.start(withPostgres());
  await second.logged(REPLAYED);
  expect(await second.stop()).toMatchObject({ status: 0 });
  expect(await rowIds()).toEqual([...acknowledged].sort());
});

test("a second service on the same SPOOL_DIR says so in one line and ends, and the first goes on", async () => {
  await using first = await ServiceProcess.start(withPostgres());
  await using second = ServiceProcess.spawn([], withPostgres());
  expect(await second.ended()).toMatchObject({ status: 1 });
  expect(second.find("cannot start")).toMatchObject({
    level: "fatal",
    reason: expect.stringMatching(/^SPOOL_DIR: .+ is in use by another service/),
  });
  const { acknowledged } = await pushMany(first.url, durably(10));
  expect(acknowledged.size).toBe(10);
  expect(await first.stop()).toMatchObject({ status: 0 });
});

test("a damaged file in SPOOL_DIR does not keep the service from starting", async () => {
  await writeFile(join(directory, "0001700000000000.batch"), "torn");
  await using service = await ServiceProcess.start(withPostgres());
  expect(service.log).toContainEqual(
    expect.objectContaining({ level: "error", file: "0001700000000000.batch" }),
  );
  expect(await service.stop()).toMatchObject({ status: 0 });
  expect(await readdir(join(directory, "set-aside"))).toEqual(["0001700000000000.batch"]);
});

test("a service without a spool says that an earlier one has left events", async () => {
  await using first = await ServiceProcess.start(await withoutPostgres());
  await pushMany(first.url, durably(5));
  expect(await first.stop()).toMatchObject({ status: 0 });

  await using second = await ServiceProcess.start({ ...withPostgres(), SPOOL_MAX_BYTES: "0" });
  expect(second.log).toContainEqual(
    expect.objectContaining({ level: "warn", msg: expect.stringContaining("this run has no spool") }),
  );
  expect(await second.stop()).toMatchObject({ status: 0 });
  expect(await spoolFiles()).not.toEqual([]);
});

test.each([
  ["SPOOL_MAX_BYTES", () => ({ SPOOL_MAX_BYTES: "4096" }), /SPOOL_MAX_BYTES: must be 0, or at least/],
  ["SPOOL_DIR", () => ({ DATA_DIR: directory }), /SPOOL_DIR: must differ from DATA_DIR/],
])("a %s that cannot be used is refused before anything is started", async (_, settings, line) => {
  await using service = ServiceProcess.spawn([], { ...withPostgres(), ...settings() });
  expect(await service.ended()).toMatchObject({ status: 2 });
  expect(service.stderr).toMatch(line);
});

test("a disk that hangs under the spool keeps no event from PostgreSQL, and does not keep the service from ending", async () => {
  // The spool counts on from its last file; where it will write the next one is a pipe from which nobody reads.
  const last = 4_000_000_000_000;
  const batch = encodeBatch(rowsAt(Date.now(), 1));
  const lastFile = join(directory, spoolFileName(last));
  await writeFile(lastFile, Buffer.concat([encodeBatchHeader(batch), ...batch.chunks]));
  await promisify(execFile)("mkfifo", [temporaryName(join(directory, spoolFileName(last + 1)))]);
  await using proxy = await FaultProxy.inFrontOf(database.url);
  const settings = { ...withPostgres(), DATABASE_URL: proxy.url, SHUTDOWN_TIMEOUT_MS: "1000" };
  await using service = await ServiceProcess.start(settings);
  await service.logged(REPLAYED);

  const event = { property: "news", section: 1, item: 1 };
  proxy.set("refuse");
  const durable = push(service.url, { ...event, ack: "ACK_MODE_DURABLE" });
  await service.logged(FLUSH_FAILED);
  await push(service.url, event);
  await service.logged(FLUSH_FAILED, 2);
  proxy.set("pass");
  await service.logged("flush: the database takes batches again");
  expect(service.find(DISK_HANGS)).toBeUndefined();
  await service.logged(DISK_HANGS);
  expect((await durable).status).toBe(200);

  proxy.set("refuse");
  await push(service.url, event);
  // By a signal of its own: an exit would wait for the disk.
  expect(await service.stop()).toEqual({ status: null, signal: "SIGKILL" });
  expect(service.find("stopped, but events are missing")).toMatchObject({
    inserted: 3,
    queued: 1,
    missing: 0,
  });
});
