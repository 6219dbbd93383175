import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { push } from "../support/pushes.js";
import { ServiceProcess } from "../support/service-process.js";
import { createStatsDatabase } from "../support/stats-database.js";

const SDK = pathToFileURL(join(import.meta.dirname, "../support/trace-to-stdout.js")).href;
const EVENT = { property: "news", section: 1, item: 1, ack: "ACK_MODE_DURABLE" };

test("a service that is started with an SDK exports a span for each call and flush", async () => {
  await using database = await createStatsDatabase();
  await using service = await ServiceProcess.start({
    DATABASE_URL: database.url,
    NODE_OPTIONS: `--import=${SDK}`,
  });
  expect((await push(service.url, EVENT)).status).toBe(200);
  expect(await service.logged("span stats.v1.StatsService/Push")).toMatchObject({
    attributes: { "rpc.system": "connect_rpc", "rpc.method": "Push" },
  });
  expect(await service.logged("span flush")).toMatchObject({
    attributes: { "stats.batch.rows": 1, "stats.inserted": 1 },
    links: 1,
  });
  return await service.stop();
});

test("a service that is started without one has none, and logs each call at level debug alone", async () => {
  await using database = await createStatsDatabase();
  await using service = await ServiceProcess.start({ DATABASE_URL: database.url, LOG_LEVEL: "debug" });
  expect((await push(service.url, EVENT)).status).toBe(200);
  expect((await push(service.url, { ...EVENT, section: 0 })).status).toBe(400);
  expect(await service.stop()).toMatchObject({ status: 0 });
  const calls = service.log.filter(({ msg }) => msg === "call");
  expect(calls).toMatchObject([
    { level: "debug", method: "Push", code: "ok", durationMs: expect.any(Number) },
    { level: "debug", method: "Push", code: "invalid_argument", durationMs: expect.any(Number) },
  ]);
  expect(service.stdout).not.toContain("news");
  expect(service.log.filter(({ msg }) => msg.startsWith("span"))).toEqual([]);
});

test("above level debug no call is logged", async () => {
  await using database = await createStatsDatabase();
  await using service = await ServiceProcess.start({ DATABASE_URL: database.url });
  expect((await push(service.url, EVENT)).status).toBe(200);
  expect(await service.stop()).toMatchObject({ status: 0 });
  expect(service.find("call")).toBeUndefined();
});
