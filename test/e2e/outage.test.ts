import { chmod, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Client } from "pg";
import { pino } from "pino";
import { EmbeddedPostgres } from "../../src/postgres/embedded.js";
import { freePort } from "../support/free-port.js";
import { newEventId, push } from "../support/pushes.js";
import { ServiceProcess } from "../support/service-process.js";

let dataDir: string;
let port: number;
let postgres: EmbeddedPostgres;

function startPostgres(): Promise<void> {
  postgres = new EmbeddedPostgres({ dataDir, port, logger: pino({ level: "silent" }) });
  return postgres.start();
}

async function storedIds(): Promise<string[]> {
  const client = new Client({ connectionString: postgres.url });
  await client.connect();
  const { rows } = await client.query<{ id: string }>("SELECT id FROM incoming");
  await client.end();
  return rows.map(({ id }) => id);
}

beforeEach(async () => {
  dataDir = await mkdtemp(join(tmpdir(), "stats-outage-"));
  await chmod(dataDir, 0o755);
  port = await freePort();
  await startPostgres();
});

afterEach(async () => {
  await postgres.close();
  await rm(dataDir, { recursive: true, force: true });
});

/** Pushes until the service refuses, and returns what it accepted and how it refused. */
async function fill(url: string) {
  const accepted: string[] = [];
  for (let item = 1; ; item++) {
    const eventId = newEventId();
    const answer = await push(url, { property: "news", section: 1, item, event_id: eventId });
    if (answer.status !== 200) {
      return { accepted, refusal: answer };
    }
    accepted.push(eventId);
  }
}

test("without PostgreSQL events are accepted up to the bound, then refused; once it is back each is a row", async () => {
  await using service = await ServiceProcess.start({
    DATABASE_URL: postgres.url,
    SPOOL_MAX_BYTES: "0",
    FLUSH_MAX_ROWS: "100",
    FLUSH_INTERVAL_MS: "100",
    QUEUE_MAX_BYTES: "120000",
  });
  await postgres.close();
  const { accepted, refusal } = await fill(service.url);

  expect(accepted.length).toBeGreaterThan(500);
  expect(refusal.status).toBe(429);
  expect(refusal.body.code).toBe("resource_exhausted");
  const details = refusal.body.details as { type: string; debug: Record<string, unknown> }[];
  const retryInfo = details.find(({ type }) => type === "google.rpc.RetryInfo");
  const retrySeconds = Number.parseFloat(String(retryInfo?.debug.retryDelay));
  expect(retrySeconds).toBeGreaterThanOrEqual(0.1);
  expect(retrySeconds).toBeLessThanOrEqual(30);
  expect(details).toContainEqual(expect.objectContaining({ type: "google.rpc.ErrorInfo" }));

  await startPostgres();
  await service.logged("flush: the database takes batches again");
  const ending = await service.stop();
  expect(ending).toEqual({ status: 0, signal: null });
  expect((await storedIds()).sort()).toEqual(accepted.sort());
});

test("the service starts, and takes events, while PostgreSQL is out of reach", async () => {
  await postgres.close();
  await using service = await ServiceProcess.start({ DATABASE_URL: postgres.url, SPOOL_MAX_BYTES: "0" });
  const eventId = newEventId();
  const { status } = await push(service.url, { property: "news", section: 1, item: 1, event_id: eventId });
  expect(status).toBe(200);
  await startPostgres();
  await service.stop();
  expect(await storedIds()).toEqual([eventId]);
});

test.each([
  ["names a file that is not there", "sslmode=verify-full&sslrootcert=/nonexistent.pem", "/nonexistent.pem"],
  ["asks for TLS of a server that has none", "sslmode=verify-full", "does not support SSL"],
])("a DATABASE_URL that %s ends the start", async (_, parameters, reason) => {
  const url = `${postgres.url}?${parameters}`;
  await using service = ServiceProcess.spawn([], { DATABASE_URL: url });
  expect(await service.ended()).toEqual({ status: 1, signal: null });
  expect(service.find("cannot start")?.reason).toContain(reason);
});

test("one event_id pushed many times, before and after a restart, is one row", async () => {
  const event = { property: "news", section: 1, item: 1, event_id: newEventId() };
  for (let run = 0; run < 2; run++) {
    await using service = await ServiceProcess.start({ DATABASE_URL: postgres.url, SPOOL_MAX_BYTES: "0" });
    for (const ack of ["ACK_MODE_QUEUED", "ACK_MODE_DURABLE", "ACK_MODE_QUEUED", "ACK_MODE_DURABLE"]) {
      expect((await push(service.url, { ...event, ack })).status).toBe(200);
    }
    expect(await service.stop()).toEqual({ status: 0, signal: null });
    expect(service.find("stopped")).toMatchObject({ accepted: 4, inserted: run === 0 ? 1 : 0, missing: 0 });
  }
  expect(await storedIds()).toEqual([event.event_id]);
});
