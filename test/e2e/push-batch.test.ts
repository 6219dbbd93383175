import { type Client, Code, ConnectError, createClient, type Transport } from "@connectrpc/connect";
import { createConnectTransport, createGrpcTransport } from "@connectrpc/connect-node";
import { BadRequestSchema, RetryInfoSchema } from "../../gen/google/rpc/error_details_pb.js";
import { AckMode, RejectionReason, StatsService } from "../../gen/stats/v1/stats_pb.js";
import type { TestDatabase } from "../support/database.js";
import { newEventId } from "../support/pushes.js";
import { ServiceProcess } from "../support/service-process.js";
import { createServiceDatabase, openTransaction } from "../support/stats-database.js";
import { until } from "../support/wait.js";

const BATCH_MAX_EVENTS = 10_000;

type StatsClient = Client<typeof StatsService>;

const transports: [string, (baseUrl: string) => Transport][] = [
  [
    "Connect JSON over HTTP/1.1",
    (baseUrl) => createConnectTransport({ baseUrl, httpVersion: "1.1", useBinaryFormat: false }),
  ],
  ["Connect proto over HTTP/1.1", (baseUrl) => createConnectTransport({ baseUrl, httpVersion: "1.1" })],
  ["Connect proto over HTTP/2", (baseUrl) => createConnectTransport({ baseUrl, httpVersion: "2" })],
  ["gRPC", (baseUrl) => createGrpcTransport({ baseUrl })],
];

/** Events with an id each, so that a test can find its own rows. */
function eventsOf(count: number) {
  return Array.from({ length: count }, (_, i) => ({
    property: "news",
    section: 1 + (i % 7),
    item: 1 + i,
    eventId: newEventId(),
  }));
}

/** The error that a call ends with. */
async function errorOf(call: Promise<unknown>): Promise<ConnectError> {
  return call.then(
    () => Promise.reject(new Error("the call did not fail")),
    (reason: unknown) => ConnectError.from(reason),
  );
}

function fieldsOf(error: ConnectError): string[] {
  return error
    .findDetails(BadRequestSchema)
    .flatMap(({ fieldViolations }) => fieldViolations.map(({ field }) => field));
}

/** The rows of these events, as pairs of event id and item. */
async function rowsOf(events: readonly { eventId: string }[]): Promise<string[]> {
  const { rows } = await database.pool.query<{ id: string; property_id: string }>(
    "SELECT id, property_id FROM incoming WHERE id = ANY($1::uuid[]) ORDER BY id",
    [events.map(({ eventId }) => eventId)],
  );
  return rows.map(({ id, property_id }) => `${id} ${property_id}`);
}

const expected = (events: readonly { eventId: string; item: number }[]) =>
  events.map(({ eventId, item }) => `${eventId} ${item}`).toSorted();

let database: TestDatabase;
let service: ServiceProcess;
let smallService: ServiceProcess;

beforeAll(async () => {
  database = await createServiceDatabase();
  service = await ServiceProcess.start({ DATABASE_URL: database.url });
  smallService = await ServiceProcess.start({
    DATABASE_URL: database.url,
    FLUSH_MAX_ROWS: "500",
    QUEUE_MAX_BYTES: "200000",
  });
});

afterAll(async () => {
  const ending = await service.stop();
  const smallEnding = await smallService.stop();
  const { accepted, inserted, duplicates, missing } = { ...service.find("stopped") };
  const small = { ...smallService.find("stopped") };
  const { rows } = await database.pool.query<{ count: string }>("SELECT count(*) FROM incoming");
  await database.close();
  expect([ending, smallEnding]).toEqual(Array(2).fill({ status: 0, signal: null }));
  expect([missing, small.missing]).toEqual([0, 0]);
  expect(small.accepted).toBe(small.inserted);
  expect(accepted).toBe(Number(inserted) + Number(duplicates));
  expect(Number(rows[0]?.count)).toBe(Number(inserted) + Number(small.inserted));
});

describe.each(transports)("PushBatch over %s", (_name, makeTransport) => {
  let client: StatsClient;
  beforeAll(() => {
    client = createClient(StatsService, makeTransport(service.url));
  });

  test("10,000 events in one call, over several batches, are rows when a durable call is answered", async () => {
    // What is queued before makes the call's events cross from one batch into the next.
    await client.pushBatch({ events: eventsOf(10) });
    const events = eventsOf(BATCH_MAX_EVENTS);
    const answer = await client.pushBatch({ events, ack: AckMode.DURABLE });
    expect(answer).toMatchObject({ accepted: BATCH_MAX_EVENTS, rejections: [] });
    expect(await rowsOf(events)).toEqual(expected(events));
  });

  test("one bad event in the middle is named, and the others are rows", async () => {
    const events = eventsOf(11);
    const bad = { ...events[5], property: "News!", section: 0, eventId: "abc" };
    const { accepted, rejections } = await client.pushBatch({
      events: events.with(5, bad as (typeof events)[number]),
      ack: AckMode.DURABLE,
    });
    expect(accepted).toBe(10);
    expect(rejections).toMatchObject([{ index: 5, reason: RejectionReason.INVALID }]);
    expect(rejections[0]?.violations.map(({ field }) => field)).toEqual(["property", "section", "event_id"]);
    expect(await rowsOf(events)).toEqual(expected(events.toSpliced(5, 1)));
  });

  test("an event id that is in the batch twice is one row", async () => {
    const events = eventsOf(3);
    const twice = [...events, ...events];
    const { accepted } = await client.pushBatch({ events: twice, ack: AckMode.DURABLE });
    expect(accepted).toBe(6);
    expect(await rowsOf(twice)).toEqual(expected(events));
  });

  test("one event too many refuses the call, naming the bound, and nothing is recorded", async () => {
    const events = eventsOf(BATCH_MAX_EVENTS + 1);
    const error = await errorOf(client.pushBatch({ events, ack: AckMode.DURABLE }));
    expect(error.code).toBe(Code.InvalidArgument);
    expect(error.rawMessage).toBe("events: must be at most 10000, not 10001");
    expect(await rowsOf(events)).toEqual([]);
  });

  test("a request over 1 MiB is refused, and nothing is recorded", async () => {
    const events = eventsOf(10);
    const large = { property: "a".repeat(2 ** 20), section: 1, item: 1 };
    const error = await errorOf(client.pushBatch({ events: [...events, large] }));
    expect(error.code).toBe(Code.ResourceExhausted);
    expect(error.findDetails(RetryInfoSchema)).toEqual([]);
    // On the same connection, and so behind what is left of the large one.
    await client.pushBatch({ events: eventsOf(1), ack: AckMode.DURABLE });
    expect(await rowsOf(events)).toEqual([]);
  });

  test("a batch without a good event is an invalid argument, and an empty one is OK", async () => {
    const error = await errorOf(client.pushBatch({ events: [{ property: "news" }, {}] }));
    expect(error.code).toBe(Code.InvalidArgument);
    const fields = ["[0].section", "[0].item", "[1].property", "[1].section", "[1].item"];
    expect(fieldsOf(error)).toEqual(fields.map((field) => `events${field}`));
    for (const ack of [AckMode.QUEUED, AckMode.DURABLE]) {
      expect(await client.pushBatch({ ack })).toMatchObject({ accepted: 0, rejections: [] });
    }
  });

  test("all_or_nothing records nothing when one event is bad, and all when none is", async () => {
    const events = eventsOf(5);
    const call = { ack: AckMode.DURABLE, allOrNothing: true };
    const error = await errorOf(client.pushBatch({ ...call, events: [...events, {}] }));
    expect(fieldsOf(error)).toEqual(["events[5].property", "events[5].section", "events[5].item"]);
    expect(await rowsOf(events)).toEqual([]);
    expect(await client.pushBatch({ ...call, events })).toMatchObject({ accepted: 5 });
    expect(await rowsOf(events)).toEqual(expected(events));
  });

  test("what a small queue has no room for is refused as retryable, by index; pushed again, each is a row", async () => {
    const small = createClient(StatsService, makeTransport(smallService.url));
    const events = eventsOf(5_000);
    let left = events;
    {
      // Nothing can be written until this ends.
      await using _lock = await openTransaction(database.pool, "LOCK TABLE incoming");
      const { accepted, rejections } = await small.pushBatch({ events });
      expect(accepted).toBeGreaterThan(1_000);
      expect(accepted).toBeLessThan(4_000);
      expect(rejections.map(({ index }) => index)).toEqual([...events.keys()].slice(accepted));
      expect([...new Set(rejections.map(({ reason }) => reason))]).toEqual([RejectionReason.QUEUE_FULL]);
      expect(rejections.every(({ retryDelay }) => retryDelay !== undefined)).toBe(true);
      left = rejections.map(({ index }) => events[index] as (typeof events)[number]);
      const error = await errorOf(small.pushBatch({ events: left }));
      expect(error.code).toBe(Code.ResourceExhausted);
      expect(error.findDetails(RetryInfoSchema)).toHaveLength(1);
    }
    await until(async () => {
      const { rejections } = await small
        .pushBatch({ events: left, ack: AckMode.DURABLE })
        .catch(() => ({ rejections: left.map((_, index) => ({ index })) }));
      left = rejections.map(({ index }) => left[index] as (typeof events)[number]);
      return left.length === 0;
    }, "room for all that is left");
    expect(await rowsOf(events)).toEqual(expected(events));
  });
});
