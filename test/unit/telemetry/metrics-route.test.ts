import { Ledger } from "../../../src/ingest/ledger.js";
import { RefusedCalls } from "../../../src/rpc/rejections.js";
import { Metrics } from "../../../src/telemetry/metrics.js";
import {
  clusterMetricsRoute,
  type MetricsReading,
  WorkerMetrics,
} from "../../../src/telemetry/metrics-route.js";
import { FakeClock } from "../../support/fake-clock.js";
import { Scrape } from "../../support/scrape.js";

/** A worker process, as far as it is measured. */
class FakeProcess {
  readonly clock = new FakeClock();
  readonly metrics = new Metrics({ clock: this.clock });
  readonly ledger = new Ledger();
  readonly refusedCalls = new RefusedCalls();
  readonly queue = { rows: 0, inFlightRows: 0, bytes: 0, maxBytes: 100, oldestAgeMs: 0 };

  constructor() {
    this.metrics.watch({
      ledger: this.ledger,
      rejections: { read: () => ({}) },
      countQueries: { inFlight: 2 },
      refusedCalls: this.refusedCalls,
      queue: this.queue,
      buffer: undefined,
      flusher: { drainMs: undefined },
      rpcServer: { connections: { http1: 1 } },
      tlsCertificates: undefined,
      health: { readiness: () => ({ ok: true }) },
      aggregator: { lagMs: () => 3_000 },
    });
  }

  /** What it tells, as it comes out of the channel. */
  async tell(): Promise<MetricsReading> {
    return JSON.parse(JSON.stringify(await this.metrics.registry.getMetricsAsJSON())) as MetricsReading;
  }
}

let one: WorkerMetrics;
let two: WorkerMetrics;
let isReady: boolean;

beforeEach(() => {
  one = new WorkerMetrics();
  two = new WorkerMetrics();
  isReady = true;
});

async function scrape(): Promise<Scrape> {
  const route = clusterMetricsRoute({
    readWorkers: async () => [...one.read(), ...two.read()],
    readiness: () => (isReady ? { ok: true } : { ok: false, reason: "starting" }),
  });
  const { status, contentType, body } = await route();
  expect([status, contentType]).toEqual([200, expect.stringContaining("text/plain; version=0.0.4")]);
  return new Scrape(body);
}

test("of two workers become one: sums, the oldest event, the latest success", async () => {
  const [first, second] = [new FakeProcess(), new FakeProcess()];
  first.ledger.accepted = 3;
  second.ledger.accepted = 4;
  first.queue.oldestAgeMs = 2_000;
  await second.clock.advance(60_000);
  for (const { metrics } of [first, second]) {
    metrics.flushes.written({ rows: 1, bytes: 80 }, { inserted: 1, duplicates: 0, dead: 0 }, 1);
  }
  one.heard(await first.tell());
  two.heard(await second.tell());
  expect(Object.fromEntries((await scrape()).samples)).toMatchObject({
    stats_events_accepted_total: 7,
    stats_queue_oldest_event_age_seconds: 2,
    stats_queue_capacity_bytes: 200,
    stats_flush_last_success_timestamp_seconds: second.clock.now() / 1e3,
    'stats_rpc_unhandled_requests_total{reason="malformed"}': 0,
    stats_batch_rows_count: 2,
  });
});

test("ready is what /readyz says, also while no worker has told anything", async () => {
  expect(Object.fromEntries((await scrape()).samples)).toEqual({ stats_ready: 1 });
  isReady = false;
  one.heard(await new FakeProcess().tell());
  expect((await scrape()).sum("stats_ready")).toBe(0);
});

test("the counts of a worker that dies stay, whatever its successors count; what it held does not", async () => {
  const other = new FakeProcess();
  other.ledger.accepted = 27;
  two.heard(await other.tell());
  for (const deaths of [1, 2, 3]) {
    const process = new FakeProcess();
    process.ledger.accepted = 9;
    process.queue.rows = 5;
    process.refusedCalls.add("malformed");
    process.metrics.flushes.written({ rows: 4, bytes: 320 }, { inserted: 4, duplicates: 0, dead: 0 }, 1);
    one.heard(await process.tell());
    const before = await scrape();
    one.processEnded();
    const after = await scrape();
    expect([before, after].map((each) => each.sum("stats_queue_rows"))).toEqual([5, 0]);
    for (const { samples } of [before, after]) {
      expect(Object.fromEntries(samples)).toMatchObject({
        stats_events_accepted_total: 27 + 9 * deaths,
        'stats_rpc_unhandled_requests_total{reason="malformed"}': deaths,
        stats_batch_rows_sum: 4 * deaths,
        'stats_batch_rows_bucket{le="10"}': deaths,
      });
    }
  }
});
