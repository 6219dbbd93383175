import { createClient } from "@connectrpc/connect";
import { createConnectTransport } from "@connectrpc/connect-node";
import { CountsService, Dimension, Granularity } from "../../../gen/stats/v1/counts_pb.js";
import { type CountsPort, countRows, insertEvents, openCountsPort } from "../../support/counts.js";
import type { TestDatabase } from "../../support/database.js";
import { createStatsDatabase } from "../../support/stats-database.js";

const NOW = Date.UTC(2026, 10, 28, 14, 20, 33);
const FRESH = NOW - 2_000;
const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;

let database: TestDatabase;
let port: CountsPort;

beforeAll(async () => {
  database = await createStatsDatabase();
  await insertEvents(database.pool, [
    { property: "news", section: 1, item: 42, at: NOW - MINUTE },
    { property: "news", section: 1, item: 42, at: NOW - HOUR },
    { property: "news", section: 1, item: 43, at: NOW - DAY },
    { property: "shop", section: 2, item: 7, at: NOW - 5 * DAY },
  ]);
  await countRows(database.pool, FRESH);
  await database.pool.query("INSERT INTO labels VALUES ('news', 0, 0, 'News', 'https://example.com/')");
  port = await openCountsPort({ url: database.url, now: () => NOW });
});
afterAll(async () => {
  await port[Symbol.asyncDispose]();
  await database.close();
});

describe.each([true, false])("the counts, asked with GET: %s,", (useHttpGet) => {
  const client = () =>
    createClient(
      CountsService,
      createConnectTransport({ baseUrl: port.url, httpVersion: "1.1", useHttpGet }),
    );

  it("are those of one property by the hour, zeros included, with its name", async () => {
    const answer = await client().querySeries({
      property: "news",
      granularity: Granularity.HOUR,
      startTime: { seconds: BigInt((NOW - 3 * HOUR) / 1000) },
    });
    expect(answer.buckets.map(({ count }) => count)).toEqual([0n, 0n, 1n, 1n]);
    expect(answer.buckets.map(({ partial }) => partial)).toEqual([false, false, false, true]);
    expect(answer).toMatchObject({
      totalCount: 2n,
      names: [{ label: "News", url: "https://example.com/" }],
      coverage: { freshTime: { seconds: BigInt(FRESH / 1000) }, incomplete: false },
    });
  });

  it("are those of the items with the highest ones, page by page", async () => {
    const request = {
      dimension: Dimension.ITEM,
      startTime: { seconds: BigInt((NOW - 7 * DAY) / 1000) },
      pageSize: 2,
    };
    const first = await client().queryTop(request);
    expect(first.entries.map(({ item, count }) => [item, count])).toEqual([
      [42, 2n],
      [43, 1n],
    ]);
    expect(first).toMatchObject({ totalCount: 4n, totalSize: 3n });
    const last = await client().queryTop({ ...request, pageToken: first.nextPageToken });
    expect(last.entries.map(({ property, section, item }) => [property, section, item])).toEqual([
      ["shop", 2, 7],
    ]);
    expect(last.nextPageToken).toBe("");
  });

  it("are those of items in the order of the request", async () => {
    const { counts } = await client().queryCounts({
      items: [
        { property: "shop", section: 2, item: 7 },
        { property: "news", section: 1, item: 1 },
        { property: "news", section: 1, item: 42 },
      ],
      startTime: { seconds: BigInt((NOW - 7 * DAY) / 1000) },
    });
    expect(counts).toEqual([1n, 0n, 2n]);
  });
});
