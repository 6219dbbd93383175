/**
 * The metrics of one process: reads the counts that the parts keep anyway when it is asked for them, so that events pay
 * nothing; it never changes a part.
 */
import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from "prom-client";
import type { BufferKind } from "../buffer/buffer.js";
import type { FoldObserver } from "../counts/aggregator.js";
import type { FlushObserver } from "../ingest/flush-log.js";
import type { Ledger } from "../ingest/ledger.js";
import type { UnaryInterceptor } from "../rpc/unary-method.js";
import type { Clock } from "../util/clock.js";
import { FAULT_CLASSES } from "../util/fault-class.js";
import { version } from "../util/package-info.js";
import { CallDurations } from "./calls.js";
import { METRICS, type MetricDefinition } from "./metric-definitions.js";

/** The parts that are read. All of their numbers must be there, and belong together, at any time. */
export interface MetricSources {
  readonly ledger: Omit<Ledger, "missing" | "read">;
  readonly rejections: { read(): Readonly<Record<string, number>> };
  /** undefined: another process answers queries. */
  readonly countQueries: { readonly inFlight: number } | undefined;
  readonly refusedCalls: { read(): Readonly<Record<string, number>> };
  readonly queue: {
    readonly rows: number;
    readonly inFlightRows: number;
    readonly bytes: number;
    readonly maxBytes: number;
    readonly oldestAgeMs: number;
  };
  /** undefined: there is only memory. */
  readonly buffer:
    | {
        readonly kind: BufferKind;
        readonly rows: number;
        readonly bytes: number;
        readonly maxBytes: number;
        readonly setAsideBatches: number;
      }
    | undefined;
  readonly flusher: { readonly drainMs: number | undefined };
  readonly rpcServer: { readonly connections: Readonly<Record<string, number>> };
  /** undefined: the port speaks clear text. */
  readonly tlsCertificates: { readonly expiresAt: number | undefined } | undefined;
  readonly health: { readiness(): { readonly ok: boolean } };
  /** undefined: this process does not count. */
  readonly aggregator: { lagMs(): number } | undefined;
}

/** A number; or, for a metric with one label, a number for each of its values. */
type Reading = number | Readonly<Record<string, number>> | ReadonlyMap<string, number>;

const SOURCES = ["queue", "buffer"] as const;
const MS_PER_SECOND = 1e3;

/** Owns the registry. Process and calls are measured from the start, the service's parts from `watch` on. */
export class Metrics {
  readonly registry = new Registry();
  /** Hears of the flushes of the queue. */
  readonly flushes: FlushObserver;
  /** Hears of the replay of the buffer. */
  readonly replays: FlushObserver;
  /** Hears of the folds of new events into the counts. */
  readonly folds: FoldObserver;
  readonly #clock: Clock;
  readonly #calls = new CallDurations(METRICS.rpcDuration);
  readonly #retries: Counter;
  readonly #flushDuration: Histogram;
  readonly #batchRows: Histogram;
  readonly #batchBytes: Histogram;
  #lastSuccessMs = 0;

  constructor({ clock, role = "all" }: { readonly clock: Clock; readonly role?: string }) {
    this.#clock = clock;
    this.#retries = new Counter(this.#options(METRICS.flushRetries));
    this.#flushDuration = this.#histogram(METRICS.flushDuration);
    this.#batchRows = this.#histogram(METRICS.batchRows);
    this.#batchBytes = this.#histogram(METRICS.batchBytes);
    this.flushes = this.#observer("queue");
    this.replays = this.#observer("buffer");
    this.folds = this.#foldObserver();
    this.registry.registerMetric(this.#calls.metric);
    this.#gauge(METRICS.lastSuccess, () => this.#lastSuccessMs / MS_PER_SECOND);
    new Gauge(this.#options(METRICS.buildInfo)).set({ version, node: process.version, role }, 1);
    // Under their usual names, process_… and nodejs_…, which ready-made dashboards look for.
    collectDefaultMetrics({ register: this.registry });
  }

  /** Measures each call. */
  get interceptor(): UnaryInterceptor {
    return this.#calls.interceptor(this.#clock);
  }

  /**
   * Adds the metrics that are read out of the service's parts. prom-client reads all of them in one go, before anything
   * else can run, so the events of one scrape add up.
   */
  watch({
    ledger,
    rejections,
    countQueries,
    refusedCalls,
    queue,
    buffer,
    flusher,
    rpcServer,
    tlsCertificates,
    health,
    aggregator,
  }: MetricSources): void {
    this.#counter(METRICS.unhandledRequests, () => refusedCalls.read());
    this.#counter(METRICS.accepted, () => ledger.accepted);
    this.#counter(METRICS.recovered, () => ledger.recovered);
    this.#counter(METRICS.rejected, () => rejections.read());
    this.#counter(METRICS.inserted, () => ledger.inserted);
    this.#counter(METRICS.duplicates, () => ledger.duplicates);
    // With a series from the start, so that the first dead letter is an increase.
    this.#counter(METRICS.dead, () => new Map([["none", 0], ...ledger.deadByCode]));
    this.#counter(METRICS.setAside, () => ledger.setAside);
    this.#counter(METRICS.forwarded, () => ledger.forwarded);
    this.#counter(METRICS.bufferedInAll, () => ledger.bufferedInAll);
    this.#counter(METRICS.spooledInAll, () => ledger.bufferedInAll);
    this.#counter(METRICS.replayed, () => ledger.replayed);
    this.#gauge(METRICS.queueRows, () => queue.rows);
    this.#gauge(METRICS.inFlightRows, () => queue.inFlightRows);
    this.#gauge(METRICS.queueBytes, () => queue.bytes);
    this.#gauge(METRICS.queueCapacity, () => queue.maxBytes);
    this.#gauge(METRICS.oldestAge, () => queue.oldestAgeMs / MS_PER_SECOND);
    this.#watchBuffer(buffer, ledger);
    this.#gauge(METRICS.drainDuration, () => (flusher.drainMs ?? 0) / MS_PER_SECOND);
    this.#gauge(METRICS.countQueries, () => countQueries?.inFlight ?? 0);
    this.#gauge(METRICS.openConnections, () => rpcServer.connections);
    this.#gauge(METRICS.tlsExpiry, () => (tlsCertificates?.expiresAt ?? 0) / MS_PER_SECOND);
    this.#gauge(METRICS.countsLag, () => (aggregator?.lagMs() ?? 0) / MS_PER_SECOND);
    this.#gauge(METRICS.ready, () => (health.readiness().ok ? 1 : 0));
  }

  /** A stream is the same for all processes: of several workers' readings one is told, not the sum. */
  #watchBuffer(buffer: MetricSources["buffer"], ledger: MetricSources["ledger"]): void {
    const { kind = "spool" } = buffer ?? {};
    const isShared = kind === "jetstream";
    const spool = isShared ? undefined : buffer;
    const gauge = (definition: MetricDefinition, read: () => number) =>
      this.#gauge({ ...definition, ...(isShared && { aggregator: "max" }) }, () => ({ [kind]: read() }));
    // Of a spool as the books have it, so that they add up in every scrape.
    gauge(METRICS.bufferRows, () => (isShared ? (buffer?.rows ?? 0) : ledger.buffered));
    gauge(METRICS.bufferBytes, () => buffer?.bytes ?? 0);
    gauge(METRICS.bufferCapacity, () => buffer?.maxBytes ?? 0);
    gauge(METRICS.setAsideBatches, () => buffer?.setAsideBatches ?? 0);
    this.#gauge(METRICS.spoolRows, () => ledger.buffered);
    this.#gauge(METRICS.spoolBytes, () => spool?.bytes ?? 0);
    this.#gauge(METRICS.spoolCapacity, () => spool?.maxBytes ?? 0);
    this.#gauge(METRICS.setAsideFiles, () => spool?.setAsideBatches ?? 0);
  }

  #observer(source: (typeof SOURCES)[number]): FlushObserver {
    for (const fault_class of FAULT_CLASSES) {
      this.#retries.inc({ source, fault_class }, 0);
    }
    return {
      written: ({ rows, bytes }, { duplicates, dead }, durationMs) => {
        const outcome = duplicates + dead > 0 ? "salvaged" : "copied";
        this.#flushDuration.observe({ source, outcome }, durationMs / MS_PER_SECOND);
        this.#batchRows.observe(rows);
        this.#batchBytes.observe(bytes);
        this.#lastSuccessMs = this.#clock.now();
      },
      failed: (fault_class, durationMs) => {
        this.#flushDuration.observe({ source, outcome: "failed" }, durationMs / MS_PER_SECOND);
        this.#retries.inc({ source, fault_class });
      },
    };
  }

  #foldObserver(): FoldObserver {
    const duration = this.#histogram(METRICS.countsFoldDuration);
    const counted = new Counter(this.#options(METRICS.countedRows));
    return {
      folded: (tiers, rows, durationMs) => {
        duration.observe({ tiers, outcome: "folded" }, durationMs / MS_PER_SECOND);
        counted.inc({ tiers }, rows);
      },
      failed: (tiers, durationMs) =>
        duration.observe({ tiers, outcome: "failed" }, durationMs / MS_PER_SECOND),
    };
  }

  #counter(definition: MetricDefinition, read: () => Reading): void {
    new Counter({
      ...this.#options(definition),
      collect(this: Counter) {
        this.reset();
        for (const [labels, value] of samples(definition, read())) {
          this.inc(labels, value);
        }
      },
    });
  }

  #gauge(definition: MetricDefinition, read: () => Reading): void {
    new Gauge({
      ...this.#options(definition),
      collect(this: Gauge) {
        for (const [labels, value] of samples(definition, read())) {
          this.set(labels, value);
        }
      },
    });
  }

  #histogram(definition: MetricDefinition): Histogram {
    return new Histogram({ ...this.#options(definition), buckets: [...(definition.buckets ?? [])] });
  }

  #options({ name, help, labels = {}, aggregator }: MetricDefinition) {
    return { name, help, labelNames: Object.keys(labels), aggregator, registers: [this.registry] };
  }
}

function* samples(
  { labels = {} }: MetricDefinition,
  reading: Reading,
): Generator<[labels: Record<string, string>, value: number]> {
  if (typeof reading === "number") {
    yield [{}, reading];
    return;
  }
  const [label = ""] = Object.keys(labels);
  const entries = reading instanceof Map ? reading : Object.entries(reading);
  for (const [labelValue, value] of entries as Iterable<[string, number]>) {
    yield [{ [label]: labelValue }, value];
  }
}
