import { once } from "node:events";
import { type AddressInfo, createServer } from "node:net";
import { createTestDatabase, type TestDatabase } from "../support/database.js";
import { FaultProxy } from "../support/fault-proxy.js";
import { newEventId, push } from "../support/pushes.js";
import { ServiceProcess } from "../support/service-process.js";
import { createServiceDatabase } from "../support/stats-database.js";

async function storedIds(database: TestDatabase): Promise<string[]> {
  const { rows } = await database.pool.query<{ id: string }>("SELECT id FROM incoming");
  return rows.map(({ id }) => id);
}

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
  await using database = await createServiceDatabase();
  await using postgres = await FaultProxy.inFrontOf(database.url);
  await using service = await ServiceProcess.start({
    DATABASE_URL: postgres.url,
    FLUSH_MAX_ROWS: "100",
    FLUSH_INTERVAL_MS: "100",
    QUEUE_MAX_BYTES: "120000",
  });
  postgres.set("refuse");
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

  postgres.set("pass");
  await service.logged("flush: the database takes batches again");
  const ending = await service.stop();
  expect(ending).toEqual({ status: 0, signal: null });
  expect((await storedIds(database)).sort()).toEqual(accepted.sort());
});

test("the service starts, and takes events, while PostgreSQL is out of reach", async () => {
  // Empty: the tables, too, are made when it is back.
  await using database = await createTestDatabase();
  await using postgres = await FaultProxy.inFrontOf(database.url);
  postgres.set("refuse");
  await using service = await ServiceProcess.start({ DATABASE_URL: postgres.url });
  const eventId = newEventId();
  const { status } = await push(service.url, { property: "news", section: 1, item: 1, event_id: eventId });
  expect(status).toBe(200);
  postgres.set("pass");
  await service.stop();
  expect(await storedIds(database)).toEqual([eventId]);
});

test.each([
  ["names a file that is not there", "sslmode=verify-full&sslrootcert=/nonexistent.pem", "/nonexistent.pem"],
  ["asks for TLS of a server that has none", "sslmode=verify-full", "does not support SSL"],
])("a DATABASE_URL that %s ends the start", async (_, parameters, reason) => {
  // "N" is what a PostgreSQL without TLS answers to the first packet of a client that asks for it.
  const server = createServer((client) => client.once("data", () => client.end("N")));
  await once(server.listen(0, "127.0.0.1"), "listening");
  try {
    const { port } = server.address() as AddressInfo;
    const url = `postgres://127.0.0.1:${port}/stats?${parameters}`;
    await using service = ServiceProcess.spawn([], { DATABASE_URL: url });
    expect(await service.ended()).toEqual({ status: 1, signal: null });
    expect(service.find("cannot start")?.reason).toContain(reason);
  } finally {
    server.close();
  }
});

test("one event_id pushed many times, before and after a restart, is one row", async () => {
  await using database = await createServiceDatabase();
  const event = { property: "news", section: 1, item: 1, event_id: newEventId() };
  for (let run = 0; run < 2; run++) {
    await using service = await ServiceProcess.start({ DATABASE_URL: database.url });
    for (const ack of ["ACK_MODE_QUEUED", "ACK_MODE_DURABLE", "ACK_MODE_QUEUED", "ACK_MODE_DURABLE"]) {
      expect((await push(service.url, { ...event, ack })).status).toBe(200);
    }
    expect(await service.stop()).toEqual({ status: 0, signal: null });
    expect(service.find("stopped")).toMatchObject({ accepted: 4, inserted: run === 0 ? 1 : 0, missing: 0 });
  }
  expect(await storedIds(database)).toEqual([event.event_id]);
});
