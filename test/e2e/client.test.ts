import { createBufferingClient } from "../../client/src/create-buffering-client.js";
import type { Rejection } from "../../client/src/options.js";
import type { TestDatabase } from "../support/database.js";
import { ServiceProcess } from "../support/service-process.js";
import { createServiceDatabase } from "../support/stats-database.js";
import { newToken, TestTokenFile } from "../support/tokens.js";

const COUNT = 5_000;

async function storedItems(database: TestDatabase): Promise<number[]> {
  const { rows } = await database.pool.query<{ item: string }>(
    "SELECT property_id AS item FROM incoming ORDER BY property_id",
  );
  return rows.map(({ item }) => Number(item));
}

test("events of a buffering client become rows, those that the service rejects aside", async () => {
  await using database = await createServiceDatabase();
  await using service = await ServiceProcess.start({ DATABASE_URL: database.url, PROPERTIES: "news" });
  const rejections: Rejection[] = [];
  const stats = createBufferingClient(service.url, {
    ack: "durable",
    onRejected: (rejection) => rejections.push(rejection),
  });
  for (let item = 1; item <= COUNT; item++) {
    // Many rejections make an answer that the service compresses.
    stats.push({ property: item % 2 === 0 ? "news" : "shop", section: 1, item });
  }
  await stats.flush();
  expect(stats.counters).toEqual({
    pushed: COUNT,
    acknowledged: COUNT / 2,
    rejected: COUNT / 2,
    buffered: 0,
    refused: 0,
    retried: 0,
  });
  expect(rejections[0]).toMatchObject({
    event: { property: "shop", item: 1 },
    reason: "INVALID",
    violations: [{ field: "property" }],
  });
  expect(await storedItems(database)).toEqual(Array.from({ length: COUNT / 2 }, (_, n) => 2 * (n + 1)));
  expect(await stats.close()).toEqual({ undelivered: 0 });
});

test("batches of more bytes than the service takes arrive in parts", async () => {
  await using database = await createServiceDatabase();
  await using service = await ServiceProcess.start({
    DATABASE_URL: database.url,
    REQUEST_MAX_BYTES: "32768",
  });
  await using stats = createBufferingClient(service.url, { ack: "durable" });
  for (let item = 1; item <= 2_000; item++) {
    stats.push({ property: "news", section: 1, item });
  }
  await stats.flush();
  expect(stats.counters).toMatchObject({ acknowledged: 2_000, rejected: 0 });
  expect(await storedItems(database)).toHaveLength(2_000);
});

test("events that the token does not allow are dropped, whatever they are sent with", async () => {
  const token = newToken({ properties: ["news"] });
  await using tokens = await TestTokenFile.create(token);
  await using database = await createServiceDatabase();
  await using service = await ServiceProcess.start({
    DATABASE_URL: database.url,
    AUTH_TOKENS_FILE: tokens.path,
  });
  const rejections: Rejection[] = [];
  await using stats = createBufferingClient(service.url, {
    token: token.text,
    onRejected: (rejection) => rejections.push(rejection),
  });
  for (const properties of [["shop"], ["shop", "No"], ["shop", "news"]]) {
    for (const property of properties) {
      stats.push({ property, section: 1, item: 1 });
    }
    await stats.flush();
  }
  expect(stats.counters).toMatchObject({ acknowledged: 1, rejected: 4, buffered: 0, retried: 0 });
  expect(rejections.map(({ reason }) => reason)).toEqual(Array(4).fill("PERMISSION_DENIED"));
});
