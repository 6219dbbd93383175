import type { ServiceStatus } from "../../../src/telemetry/service-status.js";
import { addSample } from "../../../web/status/samples.js";
import { clockTime, describe as describeSample, judge, WARNING } from "../../../web/status/words.js";
import { aStatus } from "../../support/status.js";

const NOW = Date.UTC(2026, 2, 3, 12);
const FAULT = {
  faultClass: "transient",
  message: "connection refused",
  since: new Date(NOW - 90_000).toISOString(),
};
const GOOD: ServiceStatus = aStatus({
  uptimeMs: 93_784_000,
  events: {
    accepted: 1_234_567,
    recovered: 3,
    inserted: 1_234_500,
    duplicates: 8,
    dead: 0,
    buffered: 0,
    forwarded: 0,
    setAside: 0,
  },
  queue: { rows: 62, bytes: 16_777_216, maxBytes: 67_108_864 },
  buffer: {
    kind: "spool",
    rows: 0,
    bytes: 0,
    maxBytes: 1_073_741_824,
    batches: 0,
    setAsideBatches: 0,
    isWritable: true,
  },
  flush: { lastSuccessAt: new Date(NOW - 2_000).toISOString(), fault: null },
  database: {
    ok: true,
    daysAhead: 7,
    rowsInDefault: 0,
    deadLetters: 0,
    clockAheadMs: 0,
    counts: { lagMs: 2_100, backfillDays: 0, unindexedPartitions: 0 },
  },
});

function wordsOf(status: ServiceStatus): Record<string, string> {
  return describeSample(addSample([], status, NOW).at(0) as never);
}

/** The places in which the page warns. */
function warnings(status: ServiceStatus): Record<string, string> {
  return Object.fromEntries(Object.entries(wordsOf(status)).filter(([, text]) => text.startsWith(WARNING)));
}

test("a status has words for each place of the page", () => {
  expect(wordsOf(GOOD)).toEqual({
    version: "1.2.3, one process, up 1 d 2 h",
    acceptedRate: "…",
    insertedRate: "…",
    queueFill: "25 % of 64 MiB",
    queueRows: "62",
    bufferKind: "spool, on disk",
    forwarded: "0",
    bufferFill: "0 % of 1,024 MiB",
    bufferRows: "0",
    setAside: "0 in 0 batches",
    accepted: "1,234,567",
    recovered: "3",
    inserted: "1,234,500",
    duplicates: "8",
    dead: "0",
    books: "They balance.",
    refusedEvents: "0",
    refusedCalls: "0",
    lastFlush: "2 s ago",
    partitions: "7 days ahead",
    deadLetters: "0",
    counted: "2 s ago",
    toCount: "none",
  });
});

test("what somebody should look at begins with a warning", () => {
  expect(warnings(GOOD)).toEqual({});
  const { lastSuccessAt } = GOOD.flush;
  expect(
    warnings({
      ...GOOD,
      events: { ...GOOD.events, dead: 2, setAside: 3 },
      buffer: {
        kind: "spool",
        rows: 5,
        bytes: 1_048_576,
        maxBytes: 2_097_152,
        batches: 1,
        setAsideBatches: 1,
        isWritable: false,
      },
      flush: { lastSuccessAt, fault: FAULT },
      database: { ok: true, daysAhead: 7, rowsInDefault: 4, deadLetters: 100_000, clockAheadMs: 0 },
    }),
  ).toEqual({
    bufferFill: "⚠ 50 % of 2 MiB, cannot be written",
    setAside: "⚠ 3 in 1 batches",
    dead: "⚠ 2",
    books: "⚠ They do not balance: 5 events too many.",
    lastFlush: "⚠ failing (transient): connection refused; last success: 2 s ago",
    partitions: "⚠ 7 days ahead, 4 events without one",
    deadLetters: "⚠ 100,000 or more",
  });
});

test("an event that is nowhere is missing in the books", () => {
  const { books } = warnings({ ...GOOD, queue: { ...GOOD.queue, rows: 61 } });
  expect(books).toBe("⚠ They do not balance: 1 events are nowhere.");
});

test("a database that does not answer is not known", () => {
  const silent = warnings({ ...GOOD, database: { ok: false, reason: "no answer within 2 s" } });
  expect(silent).toEqual({ partitions: "⚠ not known: no answer within 2 s" });
  expect(wordsOf({ ...GOOD, database: null })).toMatchObject({ partitions: "not asked yet" });
});

test("a service that has just started has little to say", () => {
  const young = { ...GOOD, processes: 2, uptimeMs: 1_400, buffer: null };
  expect(wordsOf({ ...young, flush: { lastSuccessAt: null, fault: null } })).toMatchObject({
    version: "1.2.3, 2 processes, up 1 s",
    bufferFill: "there is none",
    lastFlush: "none yet",
  });
});

test.each([
  [true, true, { level: "good", verdict: "Alive and ready", reason: "" }],
  [true, false, { level: "poor", verdict: "Not ready", reason: "no takers" }],
  [false, false, { level: "bad", verdict: "Not alive", reason: "dead part" }],
])("alive %s and ready %s has its verdict", (isAlive, isReady, verdict) => {
  const liveness = isAlive ? { ok: true as const } : { ok: false as const, reason: "dead part" };
  const readiness = isReady ? { ok: true as const } : { ok: false as const, reason: "no takers" };
  expect(judge({ ...GOOD, liveness, readiness }, null)).toEqual(verdict);
});

describe("while PostgreSQL takes no events", () => {
  const buffer = { ...(GOOD.buffer as NonNullable<ServiceStatus["buffer"]>), rows: 5_678 };

  test("the verdict says since when, why, and where the events are", () => {
    const failing = { ...GOOD, buffer, flush: { lastSuccessAt: null, fault: FAULT } };
    expect(judge(failing, null)).toEqual({
      level: "poor",
      verdict: "Ready, but PostgreSQL takes no events",
      reason:
        `Since ${clockTime(NOW - 90_000)}: connection refused\n` +
        "Events that wait: 62 in memory, 5,678 in the buffer (spool, on disk). New ones are accepted while there is room.",
    });
  });

  test("the verdict is not good either when nothing is there to be written", () => {
    const database = { ok: false as const, reason: "no answer within 2 s" };
    const { level, reason } = judge({ ...GOOD, buffer: null, database }, NOW - 5_000);
    expect([level, reason.split("\n")]).toEqual([
      "poor",
      [
        `Since ${clockTime(NOW - 5_000)}: no answer within 2 s`,
        "Events that wait: 62 in memory. New ones are accepted while there is room.",
      ],
    ]);
    expect(judge({ ...GOOD, database }, null).reason).toMatch(/^no answer within 2 s\n/);
  });

  test("the reason why the service is not ready comes first", () => {
    const flush = { lastSuccessAt: null, fault: FAULT };
    const { verdict, reason } = judge({ ...GOOD, flush, readiness: { ok: false, reason: "no room" } }, null);
    expect([verdict, reason.split("\n")[0]]).toEqual(["Not ready", "no room"]);
  });
});

test("counts that are behind are a warning, and what is left of older events is told", () => {
  const database = { ok: true as const, daysAhead: 7, rowsInDefault: 0, deadLetters: 0, clockAheadMs: 0 };
  const wordsWith = (lagMs: number, backfillDays: number | null, unindexedPartitions: number) =>
    wordsOf({ ...GOOD, database: { ...database, counts: { lagMs, backfillDays, unindexedPartitions } } });
  expect(wordsWith(600_000, 3, 0)).toMatchObject({ counted: "⚠ 10 min ago", toCount: "3 days" });
  expect(wordsWith(0, null, 2)).toMatchObject({
    counted: "0 s ago",
    toCount: "2 partitions to index, all older events",
  });
  expect(wordsOf({ ...GOOD, database })).toMatchObject({ counted: "not known" });
});

test("what was refused has its reasons", () => {
  const { events, calls } = GOOD.refused;
  const refused = {
    events: { ...events, invalid: 1_200, queue_full: 3 },
    calls: { ...calls, unauthenticated: 1 },
  };
  expect(wordsOf({ ...GOOD, refused })).toMatchObject({
    refusedEvents: "1,203: 1,200 invalid, 3 queue full",
    refusedCalls: "1: 1 unauthenticated",
  });
});

test("a worker that takes no events shows, although the others do", () => {
  expect(judge({ ...GOOD, readiness: { ok: true, reason: "worker 1: no room" } }, null)).toEqual({
    level: "poor",
    verdict: "Partly ready",
    reason: "worker 1: no room",
  });
});
