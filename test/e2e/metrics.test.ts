import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { TestDatabase } from "../support/database.js";
import { FaultProxy } from "../support/fault-proxy.js";
import { newEventId, push, pushMany } from "../support/pushes.js";
import { Scrape } from "../support/scrape.js";
import { ServiceProcess } from "../support/service-process.js";
import { createServiceDatabase } from "../support/stats-database.js";
import { until } from "../support/wait.js";

let spoolDir: string;
let database: TestDatabase;
let postgres: FaultProxy;

beforeEach(async () => {
  spoolDir = await mkdtemp(join(tmpdir(), "stats-metrics-"));
  database = await createServiceDatabase();
  postgres = await FaultProxy.inFrontOf(database.url);
});

afterEach(async () => {
  await postgres.close();
  await database.close();
  await rm(spoolDir, { recursive: true, force: true });
});

function settings(): Record<string, string> {
  return {
    DATABASE_URL: postgres.url,
    SPOOL_DIR: spoolDir,
    FLUSH_INTERVAL_MS: "20",
    FLUSH_MAX_ROWS: "100",
  };
}

/** Scrapes until `isDone` likes what it sees; the books of each scrape must balance. */
async function scrapeUntil(adminUrl: string, isDone: (scrape: Scrape) => boolean): Promise<Scrape> {
  let scrape = await balancedScrape(adminUrl);
  await until(async () => {
    scrape = await balancedScrape(adminUrl);
    return isDone(scrape);
  }, "the scrape that is waited for");
  return scrape;
}

async function balancedScrape(adminUrl: string): Promise<Scrape> {
  const scrape = await Scrape.of(adminUrl);
  expect(scrape.missing).toBe(0);
  return scrape;
}

/** Scrapes until the pushes are answered, and once more. */
async function scrapeDuring<T>(adminUrl: string, pushes: Promise<T>): Promise<[T, Scrape]> {
  let isOver = false;
  const result = pushes.finally(() => {
    isOver = true;
  });
  const scrape = await scrapeUntil(adminUrl, () => isOver);
  return [await result, scrape];
}

test("the books balance in each scrape: during load, during an outage with spooling, and after it", async () => {
  await using service = await ServiceProcess.start(settings());
  const { url, adminUrl } = service;

  const [load] = await scrapeDuring(adminUrl, pushMany(url, { count: 2_000, connections: 8 }));
  expect(load.acknowledged.size).toBe(2_000);

  postgres.set("refuse");
  const durably = { count: 300, connections: 8, ack: "ACK_MODE_DURABLE" };
  const [outage, buffered] = await scrapeDuring(adminUrl, pushMany(url, durably));
  expect(outage.acknowledged.size).toBe(300);
  expect(buffered.sum("stats_buffer_rows")).toBeGreaterThan(0);
  expect(buffered.sum("stats_buffer_bytes")).toBeGreaterThan(0);
  expect(buffered.sum("stats_flush_retries_total", 'source="queue",fault_class="transient"')).toBeGreaterThan(
    0,
  );

  postgres.set("pass");
  const after = await scrapeUntil(
    adminUrl,
    (scrape) => scrape.sum("stats_buffer_rows") + scrape.sum("stats_queue_rows") === 0,
  );
  expect(after.sum("stats_events_accepted_total")).toBe(2_300);
  expect(after.sum("stats_events_inserted_total") + after.sum("stats_events_duplicate_total")).toBe(2_300);
  expect(after.sum("stats_events_replayed_total")).toBe(after.sum("stats_events_buffered_total"));
  // The former names tell the same for one release.
  expect(after.sum("stats_events_spooled_total")).toBe(after.sum("stats_events_buffered_total"));
  expect(buffered.sum("stats_spool_rows")).toBe(buffered.sum("stats_buffer_rows"));
  expect(after.sum("stats_flush_last_success_timestamp_seconds")).toBeGreaterThan(1.7e9);
  expect(after.sum("stats_rpc_duration_seconds_count", 'method="Push",code="ok"')).toBe(2_300);
  expect(await service.stop()).toMatchObject({ status: 0 });
});

test("a dead letter is counted by its SQLSTATE, a duplicate and what was refused by what they are", async () => {
  await using service = await ServiceProcess.start(settings());
  const { url, adminUrl } = service;
  await database.pool.query("ALTER TABLE incoming ADD CONSTRAINT no_thirteen CHECK (property_section <> 13)");
  const event = { property: "news", section: 1, item: 1, event_id: newEventId(), ack: "ACK_MODE_DURABLE" };
  expect((await push(url, event)).status).toBe(200);
  expect((await push(url, event)).status).toBe(200);
  expect((await push(url, { ...event, section: 13, event_id: newEventId() })).status).toBe(200);
  expect((await push(url, { ...event, section: 0 })).status).toBe(400);
  const scrape = await balancedScrape(adminUrl);
  expect(Object.fromEntries(scrape.samples)).toMatchObject({
    'stats_events_dead_total{sqlstate="23514"}': 1,
    'stats_events_dead_total{sqlstate="none"}': 0,
    stats_events_duplicate_total: 1,
    stats_events_inserted_total: 1,
    'stats_events_rejected_total{reason="invalid"}': 1,
    'stats_rpc_duration_seconds_count{method="Push",code="invalid_argument"}': 1,
    'stats_flush_duration_seconds_count{source="queue",outcome="salvaged"}': 2,
    stats_ready: 1,
  });
});

test("without METRICS there is no /metrics", async () => {
  await using service = await ServiceProcess.start({ ...settings(), METRICS: "off" });
  const response = await fetch(`${service.adminUrl}/metrics`);
  expect(response.status).toBe(404);
});
