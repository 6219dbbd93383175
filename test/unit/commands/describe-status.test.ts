import { describeStatus } from "../../../src/commands/describe-status.js";
import { formatBytes } from "../../../src/commands/print.js";
import type { ServiceStatus } from "../../../src/telemetry/service-status.js";
import { aStatus } from "../../support/status.js";

const NOW = Date.UTC(2026, 2, 3, 12);
const STATUS: ServiceStatus = aStatus({
  uptimeMs: 93_784_000,
  events: {
    accepted: 1_234_567,
    recovered: 0,
    inserted: 1_234_500,
    duplicates: 5,
    dead: 0,
    buffered: 0,
    forwarded: 0,
    setAside: 0,
  },
  queue: { rows: 62, bytes: 65_536, maxBytes: 67_108_864 },
  buffer: {
    kind: "spool",
    rows: 0,
    bytes: 0,
    maxBytes: 1_073_741_824,
    batches: 0,
    setAsideBatches: 0,
    isWritable: true,
  },
  flush: { lastSuccessAt: new Date(NOW - 400).toISOString(), fault: null },
  database: { ok: true, daysAhead: 7, rowsInDefault: 0, deadLetters: 3, clockAheadMs: 0 },
});

test("a status reads at a glance", () => {
  expect(describeStatus(STATUS, NOW)).toEqual([
    "health    alive, ready",
    "version   1.2.3, up 1 d 2 h",
    "accepted  1,234,567 events, 0 left by earlier runs",
    "of them   1,234,500 inserted, 5 duplicates, 0 dead",
    "queue     62 events, 64.0 KiB of 64.0 MiB (0 %)",
    "buffer    spool: 0 events, 0 B of 1.0 GiB (0 %)",
    "flush     last success 0.4 s ago",
    "database  partitions for 7 days ahead, 0 rows without one, 3 dead letters",
  ]);
});

test("a worker that takes no events shows, although the others do", () => {
  const readiness = { ok: true, reason: "worker 1: no room" } as const;
  expect(describeStatus({ ...STATUS, readiness }, NOW)).toContain(
    "health    alive, PARTLY READY: worker 1: no room",
  );
});

test("what is wrong stands out", () => {
  const lines = describeStatus(
    {
      ...STATUS,
      processes: 4,
      uptimeMs: 65_000,
      liveness: { ok: false, reason: "flusher: stopped" },
      readiness: { ok: false, reason: "stopping" },
      buffer: {
        kind: "spool",
        rows: 5,
        bytes: 4096,
        maxBytes: 8192,
        batches: 1,
        setAsideBatches: 2,
        isWritable: false,
      },
      flush: {
        lastSuccessAt: null,
        fault: {
          faultClass: "transient",
          message: "connection refused",
          since: new Date(NOW - 90_000).toISOString(),
        },
      },
      database: { ok: false, reason: "no answer within 2 s" },
    },
    NOW,
  );
  expect(lines).toEqual(
    expect.arrayContaining([
      "health    NOT ALIVE: flusher: stopped, NOT READY: stopping",
      "version   1.2.3, 4 processes, up 1 min 5 s",
      "buffer    spool: 5 events, 4.0 KiB of 8.0 KiB (50 %), CANNOT BE WRITTEN, 2 batches SET ASIDE",
      "flush     FAILING (transient) for 1 min 30 s: connection refused; nothing written since the start",
      "database  DOES NOT ANSWER: no answer within 2 s",
    ]),
  );
});

test("counts that were not finished say so", () => {
  const database = {
    ok: true,
    daysAhead: 0,
    rowsInDefault: 100_000,
    deadLetters: 99_999,
    clockAheadMs: 0,
  } as const;
  expect(describeStatus({ ...STATUS, buffer: null, database }, NOW).slice(-3)).toEqual([
    "buffer    none (SPOOL_MAX_BYTES is 0)",
    "flush     last success 0.4 s ago",
    "database  partitions for 0 days ahead, 100,000 or more rows without one, 99,999 dead letters",
  ]);
});

test("a size has the unit that suits it", () => {
  expect([0, 1023, 1024, 1536, 120 * 1024, 2 ** 40, 2 ** 51].map(formatBytes)).toEqual([
    "0 B",
    "1023 B",
    "1.0 KiB",
    "1.5 KiB",
    "120 KiB",
    "1.0 TiB",
    "2048 TiB",
  ]);
});
