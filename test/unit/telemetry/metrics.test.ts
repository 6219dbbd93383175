import { Ledger } from "../../../src/ingest/ledger.js";
import { RefusedCalls, Rejections } from "../../../src/rpc/rejections.js";
import { METRICS, type MetricDefinition } from "../../../src/telemetry/metric-definitions.js";
import { Metrics } from "../../../src/telemetry/metrics.js";
import { FakeClock } from "../../support/fake-clock.js";
import { Scrape } from "../../support/scrape.js";

const definitions: readonly MetricDefinition[] = Object.values(METRICS);

class Rig {
  readonly clock = new FakeClock();
  readonly metrics = new Metrics({ clock: this.clock });
  readonly ledger = new Ledger();
  readonly queue = { rows: 0, inFlightRows: 0, bytes: 0, maxBytes: 100, oldestAgeMs: 0 };
  readonly flusher: { drainMs: number | undefined } = { drainMs: undefined };
  ready = true;

  constructor() {
    this.metrics.watch({
      ledger: this.ledger,
      rejections: { read: () => ({ invalid: 3, queue_full: 0 }) },
      countQueries: { inFlight: 2 },
      refusedCalls: new RefusedCalls(),
      queue: this.queue,
      buffer: undefined,
      flusher: this.flusher,
      rpcServer: { connections: { http1: 2, http2: 1 } },
      tlsCertificates: { expiresAt: 1_800_000_000_000 },
      health: { readiness: () => ({ ok: this.ready }) },
      aggregator: { lagMs: () => 3_000 },
    });
  }

  async scrape(): Promise<Scrape> {
    return new Scrape(await this.metrics.registry.metrics());
  }
}

describe("the definitions", () => {
  it.each(definitions)("$name follows the conventions of Prometheus", ({ name, type, help, buckets }) => {
    expect(name).toMatch(/^stats_[a-z_]+$/);
    expect(name.endsWith("_total")).toBe(type === "counter");
    expect(name).not.toMatch(/_(ms|milliseconds|kb|mib|minutes)(_|$)/);
    expect(help).toMatch(/\.$/);
    expect(buckets !== undefined).toBe(type === "histogram");
    expect(buckets ?? []).toEqual([...(buckets ?? [])].sort((a, b) => a - b));
  });

  it("are all in the registry, as they are defined", async () => {
    const metrics = await new Rig().metrics.registry.getMetricsAsJSON();
    const ours = metrics.filter(({ name }) => name.startsWith("stats_"));
    const seen = ours.map(({ name, help, type, aggregator }) => ({
      name,
      help,
      type: String(type),
      aggregator,
    }));
    const defined = definitions.map(({ name, help, type, aggregator }) => ({ name, help, type, aggregator }));
    const byName = (a: { name: string }, b: { name: string }) => a.name.localeCompare(b.name);
    expect(seen.sort(byName)).toEqual(defined.sort(byName));
  });
});

it("the reasons of refusals are all explained", () => {
  const explained = METRICS.rejected.labels.reason.split("; ").map((each) => each.split(":")[0]);
  expect(explained).toEqual(Object.keys(new Rejections().read()));
});

describe("Metrics", () => {
  it("tells what the parts say at the time of the scrape", async () => {
    const rig = new Rig();
    rig.ledger.accepted = 7;
    expect((await rig.scrape()).sum("stats_events_accepted_total")).toBe(7);
    rig.ledger.accepted = 9;
    rig.ledger.wrote({ inserted: 1, duplicates: 0, dead: 3, deadByCode: { 23514: 2, 22003: 1 } });
    rig.queue.rows = 5;
    rig.queue.oldestAgeMs = 1_500;
    rig.flusher.drainMs = 250;
    rig.ready = false;
    expect(Object.fromEntries((await rig.scrape()).samples)).toMatchObject({
      stats_events_accepted_total: 9,
      'stats_events_dead_total{sqlstate="none"}': 0,
      'stats_events_dead_total{sqlstate="23514"}': 2,
      'stats_events_dead_total{sqlstate="22003"}': 1,
      'stats_events_rejected_total{reason="invalid"}': 3,
      stats_queue_rows: 5,
      stats_queue_oldest_event_age_seconds: 1.5,
      stats_drain_duration_seconds: 0.25,
      stats_spool_capacity_bytes: 0,
      'stats_open_connections{protocol="http2"}': 1,
      stats_tls_certificate_expiry_timestamp_seconds: 1_800_000_000,
      stats_ready: 0,
    });
  });

  it("hears of flushes: how long they took, how large they were, and when one last succeeded", async () => {
    const { metrics, clock } = new Rig();
    const scrape = async () => new Scrape(await metrics.registry.metrics());
    expect((await scrape()).sum("stats_flush_last_success_timestamp_seconds")).toBe(0);
    metrics.flushes.written({ rows: 10, bytes: 800 }, { inserted: 10, duplicates: 0, dead: 0 }, 20);
    metrics.flushes.written({ rows: 10, bytes: 800 }, { inserted: 9, duplicates: 1, dead: 0 }, 40);
    metrics.replays.failed("schema", 5);
    expect(Object.fromEntries((await scrape()).samples)).toMatchObject({
      stats_batch_rows_sum: 20,
      stats_batch_bytes_sum: 1_600,
      'stats_flush_duration_seconds_sum{source="queue",outcome="copied"}': 0.02,
      'stats_flush_duration_seconds_sum{source="queue",outcome="salvaged"}': 0.04,
      'stats_flush_duration_seconds_sum{source="buffer",outcome="failed"}': 0.005,
      'stats_flush_retries_total{source="buffer",fault_class="schema"}': 1,
      'stats_flush_retries_total{source="queue",fault_class="schema"}': 0,
      stats_flush_last_success_timestamp_seconds: clock.now() / 1e3,
    });
  });

  it("reads all of a scrape in one go, so that no event moves meanwhile", async () => {
    const rig = new Rig();
    rig.ledger.accepted = 1;
    rig.queue.rows = 1;
    const scraping = rig.scrape();
    rig.ledger.wrote({ inserted: 1, duplicates: 0, dead: 0 });
    rig.queue.rows = 0;
    const scrape = await scraping;
    expect([scrape.missing, scrape.sum("stats_queue_rows")]).toEqual([0, 1]);
  });
});
