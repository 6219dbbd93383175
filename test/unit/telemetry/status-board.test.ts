import { Ledger } from "../../../src/ingest/ledger.js";
import { RefusedCalls, Rejections } from "../../../src/rpc/rejections.js";
import { Health } from "../../../src/server/health.js";
import { StatusBoard, type StatusParts } from "../../../src/telemetry/status-board.js";
import { FakeClock } from "../../support/fake-clock.js";

const TABLES = { daysAhead: 7, rowsInDefault: 0, deadLetters: 0, clockAheadMs: 0 };

function rig(overrides: Partial<StatusParts> = {}) {
  const clock = new FakeClock();
  const health = new Health();
  const ledger = new Ledger();
  const board = new StatusBoard({ version: "1.2.3", health, clock });
  const parts: StatusParts = {
    ledger,
    queue: { rows: 2, bytes: 160, maxBytes: 1_000 },
    buffer: undefined,
    flusher: { lastFlushAt: () => undefined, sinkFault: () => undefined, failingSince: () => undefined },
    rejections: new Rejections(),
    refusedCalls: new RefusedCalls(),
    replay: undefined,
    readTables: async () => TABLES,
    ...overrides,
  };
  return { board, clock, health, ledger, parts };
}

describe("StatusBoard", () => {
  it("answers while the service starts", async () => {
    const { board, clock } = rig();
    await clock.advance(1_500);
    expect(await board.read()).toMatchObject({
      version: "1.2.3",
      uptimeMs: 1_500,
      liveness: { ok: true },
      readiness: { ok: false, reason: "starting" },
      events: { accepted: 0 },
      queue: { rows: 0 },
      buffer: null,
      database: null,
    });
  });

  it("tells what the parts tell", async () => {
    const at = Date.UTC(2026, 2, 3);
    const fault = Object.assign(new Error("relation does not exist"), { faultClass: "schema" });
    const { board, parts, ledger, health } = rig({
      buffer: {
        kind: "spool",
        rows: 1,
        bytes: 4096,
        maxBytes: 8192,
        batches: 1,
        setAsideBatches: 2,
        isWritable: false,
      },
      flusher: { lastFlushAt: () => at, sinkFault: () => fault, failingSince: () => at + 1_000 },
    });
    board.watch(parts);
    health.setServing();
    ledger.accepted = 3;
    expect(await board.read()).toMatchObject({
      readiness: { ok: true },
      events: { accepted: 3 },
      queue: { rows: 2, bytes: 160, maxBytes: 1_000 },
      buffer: {
        kind: "spool",
        rows: 1,
        bytes: 4096,
        maxBytes: 8192,
        batches: 1,
        setAsideBatches: 2,
        isWritable: false,
      },
      flush: {
        lastSuccessAt: "2026-03-03T00:00:00.000Z",
        fault: {
          faultClass: "schema",
          message: "relation does not exist",
          since: "2026-03-03T00:00:01.000Z",
        },
      },
      database: { ok: true, ...TABLES },
    });
  });

  it("tells why what is in the buffer is not replayed while nothing else fails", async () => {
    const fault = { faultClass: "unknown", message: "no such thing" };
    const { board, parts } = rig({ replay: { sinkFault: () => fault, failingSince: () => 0 } });
    board.watch(parts);
    expect(await board.read()).toMatchObject({
      flush: {
        fault: {
          faultClass: "unknown",
          message: "the buffer cannot be replayed: no such thing",
          since: "1970-01-01T00:00:00.000Z",
        },
      },
    });
  });

  it("tells what was refused, and where the counts page is", async () => {
    const { board, parts } = rig();
    expect(await board.read()).toMatchObject({ refused: { events: { invalid: 0 } }, countsPage: null });
    const [rejections, refusedCalls] = [new Rejections(), new RefusedCalls()];
    board.watch({ ...parts, rejections, refusedCalls });
    board.showCountsPage({ port: 3000, isTls: false });
    rejections.add("queue_full", 3);
    refusedCalls.add("unauthenticated");
    expect(await board.read()).toMatchObject({
      refused: { events: { invalid: 0, queue_full: 3 }, calls: { malformed: 0, unauthenticated: 1 } },
      countsPage: { port: 3000, isTls: false },
    });
  });

  it("does not wait long for a database that does not answer", async () => {
    const { board, parts, clock } = rig({
      readTables: (signal) =>
        new Promise((_, reject) => signal.addEventListener("abort", () => reject(signal.reason))),
    });
    board.watch(parts);
    const reading = board.read();
    await clock.advance(2_000);
    expect(await reading).toMatchObject({ database: { ok: false, reason: "no answer within 2 s" } });
    expect(clock.pendingTimers).toBe(0);
  });

  it("asks the database once for all who ask at the same time", async () => {
    let looks = 0;
    const { board, parts } = rig({
      readTables: async () => {
        looks += 1;
        return TABLES;
      },
    });
    board.watch(parts);
    await Promise.all([board.read(), board.read(), board.read()]);
    expect(looks).toBe(1);
    await board.read();
    expect(looks).toBe(2);
  });
});
