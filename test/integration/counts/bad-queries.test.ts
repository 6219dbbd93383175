import { Code, ConnectError, createClient } from "@connectrpc/connect";
import { createConnectTransport } from "@connectrpc/connect-node";
import { BadRequestSchema, ErrorInfoSchema } from "../../../gen/google/rpc/error_details_pb.js";
import { CountsService, Dimension, type Granularity } from "../../../gen/stats/v1/counts_pb.js";
import {
  type CountsPort,
  countRows,
  dropBuckets,
  insertEvents,
  openCountsPort,
} from "../../support/counts.js";
import type { TestDatabase } from "../../support/database.js";
import { createStatsDatabase } from "../../support/stats-database.js";

const NOW = Date.UTC(2026, 10, 28, 14, 20, 33);
const at = (time: string) => ({ seconds: BigInt(Date.parse(time) / 1000) });

let database: TestDatabase;
let port: CountsPort;
beforeAll(async () => {
  database = await createStatsDatabase();
  const event = { property: "news", section: 1, at: NOW - 60_000 };
  await insertEvents(
    database.pool,
    [1, 2, 3].map((item) => ({ ...event, item })),
  );
  await countRows(database.pool, NOW);
  await dropBuckets(database.pool, "quarter_hour", Date.UTC(2026, 10, 1));
  await dropBuckets(database.pool, "hour", Date.UTC(2026, 9, 1));
  await database.pool.query(
    "INSERT INTO counts_incomplete VALUES ('2026-11-27T10:00Z', '2026-11-27T10:15Z')",
  );
  port = await openCountsPort({ url: database.url, now: () => NOW });
});
afterAll(async () => {
  await port[Symbol.asyncDispose]();
  await database.close();
});

const client = () =>
  createClient(CountsService, createConnectTransport({ baseUrl: port.url, httpVersion: "1.1" }));

/** Which fields the error of a call blames. */
async function blamed(call: Promise<unknown>): Promise<string[]> {
  const error = await call.then(
    () => undefined,
    (reason: unknown) => ConnectError.from(reason),
  );
  expect(error?.code).toBe(Code.InvalidArgument);
  return (error?.findDetails(BadRequestSchema) ?? [])
    .flatMap(({ fieldViolations }) => fieldViolations.map(({ field }) => field))
    .sort();
}

describe("a query that cannot be answered names all fields at fault at once:", () => {
  test("a series", async () => {
    const call = client().querySeries({
      property: "No Such",
      section: 0,
      item: 0,
      startTime: at("2026-11-28T00:00Z"),
      endTime: at("2026-11-27T00:00Z"),
      timeZone: "Mars/Olympus",
      granularity: 99 as Granularity,
    });
    expect(await blamed(call)).toEqual([
      "end_time",
      "granularity",
      "item",
      "property",
      "section",
      "time_zone",
    ]);
    expect(await blamed(client().querySeries({ item: 1 }))).toEqual(["property", "section"]);
    expect(
      await blamed(
        client().querySeries({
          property: "news",
          startTime: at("2027-01-01T00:00Z"),
          endTime: at("2027-01-02T00:00Z"),
        }),
      ),
    ).toEqual(["start_time"]);
    expect(
      await blamed(
        client().querySeries({
          property: "news",
          startTime: at("1969-12-31T00:00Z"),
          endTime: at("2101-01-01T00:00Z"),
        }),
      ),
    ).toEqual(["end_time", "start_time"]);
  });

  test("a series of more than 5,000 buckets", async () => {
    const request = { property: "news", granularity: 1 as Granularity, startTime: at("2026-10-01T00:00Z") };
    expect(await blamed(client().querySeries(request))).toEqual(["granularity"]);
  });

  test("a list", async () => {
    const call = client().queryTop({ section: 0, pageSize: 1_001, pageToken: "x", timeZone: "x" });
    expect(await blamed(call)).toEqual([
      "dimension",
      "page_size",
      "page_token",
      "property",
      "section",
      "time_zone",
    ]);
    const ofProperties = { dimension: Dimension.PROPERTY, property: "news", section: 1, pageSize: -1 };
    expect(await blamed(client().queryTop(ofProperties))).toEqual(["page_size", "section"]);
  });

  test("items", async () => {
    expect(await blamed(client().queryCounts({}))).toEqual(["items"]);
    const items = [
      { property: "news", section: 1, item: 1 },
      { property: "", section: 0, item: 0 },
    ];
    expect(await blamed(client().queryCounts({ items }))).toEqual([
      "items[1].item",
      "items[1].property",
      "items[1].section",
    ]);
    const many = Array.from({ length: 1_001 }, () => ({ property: "news", section: 1, item: 1 }));
    expect(await blamed(client().queryCounts({ items: many }))).toEqual(["items"]);
  });
});

test("a token of a page is for the same request alone, and forged ones are refused", async () => {
  const request = { dimension: Dimension.ITEM, pageSize: 1 };
  const { nextPageToken: pageToken } = await client().queryTop(request);
  expect((await client().queryTop({ ...request, pageToken })).entries).toMatchObject([{ item: 2 }]);
  for (const other of [
    { ...request, pageSize: 2, pageToken },
    { ...request, property: "news", pageToken },
    { ...request, dimension: Dimension.SECTION, pageToken },
    { ...request, comparePrevious: true, pageToken },
    { ...request, pageToken: `${pageToken}x` },
    { ...request, pageToken: Buffer.from("[1,2,3]").toString("base64url") },
  ]) {
    expect(await blamed(client().queryTop(other))).toEqual(["page_token"]);
  }
});

test("a range of which only days are left is refused with what fits, for people and for programs", async () => {
  const request = {
    property: "news",
    startTime: at("2026-09-01T00:00Z"),
    endTime: at("2026-09-08T00:00Z"),
    timeZone: "Europe/Berlin",
  };
  const error = await client()
    .querySeries(request)
    .catch((reason: unknown) => ConnectError.from(reason));
  expect(error).toMatchObject({
    code: Code.FailedPrecondition,
    rawMessage: expect.stringContaining("this range can be counted by the day in UTC"),
  });
  const [info] = (error as ConnectError).findDetails(ErrorInfoSchema);
  expect(info).toMatchObject({
    reason: "RANGE_NOT_KEPT",
    metadata: { granularity: "GRANULARITY_DAY", time_zone: "UTC" },
  });
  const { buckets } = await client().querySeries({ ...request, timeZone: "UTC" });
  expect(buckets).toHaveLength(7);
});

test("a range with events that were removed before they were counted says so, bucket by bucket", async () => {
  const request = { property: "news", startTime: at("2026-11-27T09:00Z"), granularity: 2 as Granularity };
  const { buckets, coverage } = await client().querySeries(request);
  expect(coverage?.incomplete).toBe(true);
  expect(buckets.flatMap(({ incomplete }, n) => (incomplete ? [n] : []))).toEqual([1]);
  const top = { dimension: Dimension.ITEM, startTime: at("2026-11-27T10:15Z") };
  expect((await client().queryTop(top)).coverage?.incomplete).toBe(false);
  const wider = { ...top, startTime: at("2026-11-27T10:14Z") };
  expect((await client().queryTop(wider)).coverage?.incomplete).toBe(true);
});

test("nothing that pushes can still change lies before the time of settling, a week before that of freshness", async () => {
  const { coverage } = await client().queryTop({ dimension: Dimension.ITEM });
  expect(Number(coverage?.freshTime?.seconds) - Number(coverage?.settleTime?.seconds)).toBe(7 * 86_400);
});
