import { mergeStatuses, type ServiceStatus } from "../../../src/telemetry/service-status.js";
import { aStatus as status } from "../../support/status.js";

const NO_EVENTS = { recovered: 0, duplicates: 0, dead: 0, buffered: 0, forwarded: 0, setAside: 0 };

describe("mergeStatuses", () => {
  it("gives one status back as it is", () => {
    expect(mergeStatuses([status()])).toEqual(status());
  });

  it("adds up counts and room, and tells the shortest time since a start", () => {
    const merged = mergeStatuses([status({ uptimeMs: 3_000 }), status(), status({ uptimeMs: 2_000 })]);
    expect(merged).toMatchObject({
      version: "1.2.3",
      processes: 3,
      uptimeMs: 1_000,
      events: { ...NO_EVENTS, accepted: 15, inserted: 12 },
      queue: { rows: 3, bytes: 240, maxBytes: 300 },
      buffer: { maxBytes: 3_000, isWritable: true },
    });
  });

  it("has what is wrong with one be wrong with all, and tells each reason once", () => {
    const full = status({ readiness: { ok: false, reason: "full" } });
    const stopping = status({
      readiness: { ok: false, reason: "stopping" },
      liveness: { ok: false, reason: "flusher: stopped" },
    });
    expect(mergeStatuses([status(), full, status(), full, stopping])).toMatchObject({
      readiness: { ok: false, reason: "full; stopping" },
      liveness: { ok: false, reason: "flusher: stopped" },
    });
  });

  it("tells the last success of any, and a fault of any", () => {
    const at = (minute: number) => `2026-03-03T12:0${minute}:00.000Z`;
    const fault = { faultClass: "transient", message: "connection refused", since: at(3) };
    const merged = mergeStatuses([
      status({ flush: { lastSuccessAt: at(2), fault: null } }),
      status({ flush: { lastSuccessAt: at(3), fault } }),
      status(),
    ]);
    expect(merged.flush).toEqual({ lastSuccessAt: at(3), fault });
  });

  it("tells the fault that began first", () => {
    const failing = (minute: number) => {
      const since = `2026-03-03T12:0${minute}:00.000Z`;
      return status({ flush: { lastSuccessAt: null, fault: { faultClass: "unknown", message: "", since } } });
    };
    const merged = mergeStatuses([failing(5), failing(3), failing(4)]);
    expect(merged.flush.fault?.since).toBe("2026-03-03T12:03:00.000Z");
  });

  it("adds up what was refused, and has the page of any", () => {
    const { refused } = status();
    const full = status({
      refused: { events: { ...refused.events, queue_full: 2 }, calls: { ...refused.calls, malformed: 1 } },
      countsPage: { port: 3000, isTls: true },
    });
    expect(mergeStatuses([status(), full, full])).toMatchObject({
      refused: { events: { invalid: 0, queue_full: 4 }, calls: { malformed: 2 } },
      countsPage: { port: 3000, isTls: true },
    });
  });

  it("takes a spool that cannot be written for one that is not to be relied on", () => {
    const buffer = {
      kind: "spool",
      rows: 1,
      bytes: 2,
      maxBytes: 3,
      batches: 1,
      setAsideBatches: 1,
      isWritable: false,
    } as const;
    expect(mergeStatuses([status(), status({ buffer }), status({ buffer: null })]).buffer).toEqual({
      ...buffer,
      maxBytes: 1_003,
    });
    expect(mergeStatuses([status({ buffer: null }), status({ buffer: null })]).buffer).toBeNull();
  });

  it("believes the one that reaches the database", () => {
    const reached = { ok: true, daysAhead: 7, rowsInDefault: 0, deadLetters: 3, clockAheadMs: 0 } as const;
    const failed = { ok: false, reason: "timeout" } as const;
    const merge = (...databases: ServiceStatus["database"][]) =>
      mergeStatuses(databases.map((database) => status({ database }))).database;
    expect(merge(null, failed, reached, null)).toEqual(reached);
    expect(merge(reached, failed)).toEqual(reached);
    expect(merge(null, failed, null)).toEqual(failed);
    expect(merge(null, null)).toBeNull();
  });

  it("names each version, in the middle of an upgrade", () => {
    expect(mergeStatuses([status(), status({ version: "1.3.0" })]).version).toBe("1.2.3, 1.3.0");
  });

  it("survives the way over the wire", () => {
    const merged = mergeStatuses([status(), status()]);
    expect(JSON.parse(JSON.stringify(merged))).toEqual(merged);
  });
});
