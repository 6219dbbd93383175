/** What is measured: name, meaning and labels of each metric of the service's own. docs/metrics.md is made of it. */
import type { Aggregator } from "prom-client";

/** One metric, as the registry and the documentation know it. */
export interface MetricDefinition {
  /** With its unit; that of a counter ends in `_total`. */
  readonly name: string;
  readonly type: "counter" | "gauge" | "histogram";
  /** One line, for Prometheus and for the documentation. */
  readonly help: string;
  /** What each label says. Default: none. */
  readonly labels?: Readonly<Record<string, string>>;
  /** How the values of several processes become one. */
  readonly aggregator: Aggregator;
  /** Upper bounds of a histogram's buckets, ascending. */
  readonly buckets?: readonly number[];
}

const FLUSH_SOURCE = "queue: from memory; buffer: by the replay";
const BUFFER_KIND = { kind: "spool: files of this process; jetstream: a stream that processes share" };
const SECONDS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30];

/** All metrics but those of the process and of Node, in the order of the documentation. */
export const METRICS = {
  accepted: {
    name: "stats_events_accepted_total",
    type: "counter",
    help: "Events that were accepted: answered OK, or waiting for a durable answer.",
    aggregator: "sum",
  },
  recovered: {
    name: "stats_events_recovered_total",
    type: "counter",
    help: "Events that an earlier run had left in the buffer, or that were taken from a shared one.",
    aggregator: "sum",
  },
  rejected: {
    name: "stats_events_rejected_total",
    type: "counter",
    help: "Events that were refused; their callers know.",
    labels: {
      reason:
        "invalid: broke a rule; ahead_of_clock: its time lies ahead of the clock of the service; permission_denied: the token does not allow its property; queue_full: no room; fair_share: no room left for this caller, who holds as much of the queue as is free; too_many_events: a batch to be taken whole has more than there is ever room for; shutting_down; all_or_nothing: others of its batch were refused",
    },
    aggregator: "sum",
  },
  inserted: {
    name: "stats_events_inserted_total",
    type: "counter",
    help: "Events that became a row.",
    aggregator: "sum",
  },
  duplicates: {
    name: "stats_events_duplicate_total",
    type: "counter",
    help: "Events whose id was in the table already.",
    aggregator: "sum",
  },
  dead: {
    name: "stats_events_dead_total",
    type: "counter",
    help: "Events that PostgreSQL refused, kept in incoming_dead.",
    labels: { sqlstate: "PostgreSQL's code for the refusal; none: there was none" },
    aggregator: "sum",
  },
  setAside: {
    name: "stats_events_set_aside_total",
    type: "counter",
    help: "Events in batches of the buffer that could not be read and wait for a person.",
    aggregator: "sum",
  },
  forwarded: {
    name: "stats_events_forwarded_total",
    type: "counter",
    help: "Events that were stored in a shared buffer, from which any process may write them.",
    aggregator: "sum",
  },
  bufferedInAll: {
    name: "stats_events_buffered_total",
    type: "counter",
    help: "Events that were put into the buffer, whatever became of them.",
    aggregator: "sum",
  },
  spooledInAll: {
    name: "stats_events_spooled_total",
    type: "counter",
    help: "Former name of stats_events_buffered_total; the next release is without it.",
    aggregator: "sum",
  },
  replayed: {
    name: "stats_events_replayed_total",
    type: "counter",
    help: "Events that left the buffer because they have ended in PostgreSQL.",
    aggregator: "sum",
  },
  queueRows: {
    name: "stats_queue_rows",
    type: "gauge",
    help: "Events in memory, those in flight included.",
    aggregator: "sum",
  },
  inFlightRows: {
    name: "stats_queue_in_flight_rows",
    type: "gauge",
    help: "Of the events in memory, those that are being written.",
    aggregator: "sum",
  },
  queueBytes: {
    name: "stats_queue_bytes",
    type: "gauge",
    help: "Memory that events take, in whole chunks.",
    aggregator: "sum",
  },
  queueCapacity: {
    name: "stats_queue_capacity_bytes",
    type: "gauge",
    help: "Upper bound of stats_queue_bytes; when it is reached, events are refused.",
    aggregator: "sum",
  },
  oldestAge: {
    name: "stats_queue_oldest_event_age_seconds",
    type: "gauge",
    help: "How long the oldest event has been in memory; 0 when there is none.",
    aggregator: "max",
  },
  bufferRows: {
    name: "stats_buffer_rows",
    type: "gauge",
    help: "Events in the buffer now.",
    labels: BUFFER_KIND,
    aggregator: "sum",
  },
  bufferBytes: {
    name: "stats_buffer_bytes",
    type: "gauge",
    help: "Space that the buffer's batches take.",
    labels: BUFFER_KIND,
    aggregator: "sum",
  },
  bufferCapacity: {
    name: "stats_buffer_capacity_bytes",
    type: "gauge",
    help: "Upper bound of stats_buffer_bytes.",
    labels: BUFFER_KIND,
    aggregator: "sum",
  },
  setAsideBatches: {
    name: "stats_buffer_set_aside_batches",
    type: "gauge",
    help: "Batches that were set aside, by this run or an earlier one, and wait for a person.",
    labels: BUFFER_KIND,
    aggregator: "sum",
  },
  spoolRows: {
    name: "stats_spool_rows",
    type: "gauge",
    help: 'Former name of stats_buffer_rows{kind="spool"}; the next release is without it.',
    aggregator: "sum",
  },
  spoolBytes: {
    name: "stats_spool_bytes",
    type: "gauge",
    help: 'Former name of stats_buffer_bytes{kind="spool"}; the next release is without it.',
    aggregator: "sum",
  },
  spoolCapacity: {
    name: "stats_spool_capacity_bytes",
    type: "gauge",
    help: 'Former name of stats_buffer_capacity_bytes{kind="spool"}; the next release is without it.',
    aggregator: "sum",
  },
  setAsideFiles: {
    name: "stats_spool_set_aside_files",
    type: "gauge",
    help: 'Former name of stats_buffer_set_aside_batches{kind="spool"}; the next release is without it.',
    aggregator: "sum",
  },
  flushRetries: {
    name: "stats_flush_retries_total",
    type: "counter",
    help: "Tries at PostgreSQL that failed; the batch was kept to be tried again.",
    labels: {
      source: FLUSH_SOURCE,
      fault_class: "transient, duplicate, row, schema or unknown; see docs/architecture.md",
    },
    aggregator: "sum",
  },
  flushDuration: {
    name: "stats_flush_duration_seconds",
    type: "histogram",
    help: "Time of one try of a batch at PostgreSQL.",
    labels: {
      source: FLUSH_SOURCE,
      outcome: "copied: by one COPY; salvaged: had duplicates or dead rows; failed: will be tried again",
    },
    aggregator: "sum",
    buckets: SECONDS,
  },
  batchRows: {
    name: "stats_batch_rows",
    type: "histogram",
    help: "Rows of the batches that were written.",
    aggregator: "sum",
    buckets: [1, 10, 100, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000],
  },
  batchBytes: {
    name: "stats_batch_bytes",
    type: "histogram",
    help: "Encoded size of the batches that were written.",
    aggregator: "sum",
    buckets: [1_024, 4_096, 16_384, 65_536, 262_144, 1_048_576, 4_194_304, 16_777_216],
  },
  lastSuccess: {
    name: "stats_flush_last_success_timestamp_seconds",
    type: "gauge",
    help: "When PostgreSQL last took a batch, as Unix time; 0: not yet.",
    aggregator: "max",
  },
  countsLag: {
    name: "stats_counts_lag_seconds",
    type: "gauge",
    help: "How long ago the counts held all events that were in the table; 0: this process does not count.",
    aggregator: "max",
  },
  countsFoldDuration: {
    name: "stats_counts_fold_duration_seconds",
    type: "histogram",
    help: "Time of one fold of new events into the counts.",
    labels: {
      tiers: "quarter_hour, or hour and day",
      outcome: "folded; failed: will be tried again",
    },
    aggregator: "sum",
    buckets: [...SECONDS, 60, 300],
  },
  countedRows: {
    name: "stats_counts_rows_total",
    type: "counter",
    help: "Events that this process has counted; each is counted once in quarter_hour, and once in hour and day.",
    labels: { tiers: "quarter_hour, or hour and day" },
    aggregator: "sum",
  },
  drainDuration: {
    name: "stats_drain_duration_seconds",
    type: "gauge",
    help: "How long the drain of the shutdown has been going on; 0 while events are taken in.",
    aggregator: "max",
  },
  rpcDuration: {
    name: "stats_rpc_duration_seconds",
    type: "histogram",
    help: "Time from a call's header to its answer, which is then written.",
    labels: { method: "for example Push", code: "ok, or a Connect code, for example invalid_argument" },
    aggregator: "sum",
    buckets: [0.000_1, 0.000_25, 0.000_5, ...SECONDS],
  },
  unhandledRequests: {
    name: "stats_rpc_unhandled_requests_total",
    type: "counter",
    help: "Requests that were answered without a method.",
    labels: {
      reason:
        "unknown_method: there is none of that name; malformed: the body or a header cannot be understood; too_many_calls: as many calls are open as may, or as a connection may stream; too_many_large_requests: there is no room for a large body; unauthenticated: there is no valid token",
    },
    aggregator: "sum",
  },
  countQueries: {
    name: "stats_count_queries_in_flight",
    type: "gauge",
    help: "Queries of counts that run or wait for a connection; at COUNTS_MAX_QUERIES more are refused.",
    aggregator: "sum",
  },
  openConnections: {
    name: "stats_open_connections",
    type: "gauge",
    help: "Open connections to the RPC port.",
    labels: { protocol: "http1 or http2" },
    aggregator: "sum",
  },
  tlsExpiry: {
    name: "stats_tls_certificate_expiry_timestamp_seconds",
    type: "gauge",
    help: "When the certificate of the RPC port expires, as Unix time; 0: there is none.",
    aggregator: "min",
  },
  ready: {
    name: "stats_ready",
    type: "gauge",
    help: "1 when /readyz says ok, otherwise 0.",
    // With several processes it is the primary that answers /readyz.
    aggregator: "omit",
  },
  buildInfo: {
    name: "stats_build_info",
    type: "gauge",
    help: "1; the labels say what is running.",
    labels: { version: "of the service", node: "version of Node.js", role: "ROLE" },
    aggregator: "first",
  },
} as const satisfies Readonly<Record<string, MetricDefinition>>;
