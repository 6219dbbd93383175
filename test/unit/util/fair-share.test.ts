import fc from "fast-check";
import type { Batch } from "../../../src/ingest/batch.js";
import { EventQueue, queueMinBytes } from "../../../src/ingest/event-queue.js";
import { FairShare } from "../../../src/util/fair-share.js";
import { eventOf, row, uuidv7At } from "../../support/encoded.js";

const EVENT = eventOf(row(uuidv7At(Date.UTC(2026, 0, 15, 12))));

describe("FairShare", () => {
  it("allows whoever holds nothing", () => {
    expect(new FairShare().allows("new", 0)).toBe(true);
  });

  it("allows a caller to hold less than what is free", () => {
    const shares = new FairShare();
    shares.add("a", 100);
    expect(shares.allows("a", 101)).toBe(true);
    expect(shares.allows("a", 100)).toBe(false);
    expect(shares.allows("a", 150, 49)).toBe(true);
    expect(shares.allows("a", 150, 50)).toBe(false);
  });

  it("gives back what was held", () => {
    const shares = new FairShare();
    shares.add("a", 100);
    shares.add("b", 10);
    shares.release([
      ["a", 40],
      ["b", 10],
    ]);
    expect([shares.held("a"), shares.held("b")]).toEqual([60, 0]);
  });
});

/** A queue that callers push to as a Flusher lets them. */
class SharedQueue {
  readonly queue: EventQueue;

  constructor(limits: { flushMaxRows: number; queueMaxBytes: number }) {
    this.queue = new EventQueue(limits);
  }

  /** What became of the event. */
  push(caller: string): "accepted" | "over its share" | "no room" {
    if (!this.queue.allows(caller)) {
      return "over its share";
    }
    return this.queue.append(EVENT, caller) === undefined ? "no room" : "accepted";
  }

  /** Pushes until that is refused; returns how many events were taken. */
  flood(caller: string): number {
    let taken = 0;
    while (this.push(caller) === "accepted") {
      taken += 1;
    }
    return taken;
  }
}

describe("a queue that callers share", () => {
  const limits = { flushMaxRows: 10_000, queueMaxBytes: 100 * 64 * 1024 };

  it("gives one that floods it half of it, and leaves a share for each that comes later", () => {
    const shared = new SharedQueue(limits);
    const taken = ["a", "b", "c", "d"].map((caller) => shared.flood(caller));
    const whole = new SharedQueue(limits);
    let room = 0;
    while (whole.queue.append(EVENT) !== undefined) {
      room += 1;
    }
    for (const [i, events] of taken.entries()) {
      expect(events / room).toBeCloseTo(1 / 2 ** (i + 1), 1);
    }
    expect(shared.push("e")).toBe("accepted");
  });

  it("gives callers that flood it side by side the same each", () => {
    const shared = new SharedQueue(limits);
    const taken = { a: 0, b: 0, c: 0 };
    for (let round = 0; round < 30_000; round++) {
      for (const caller of ["a", "b", "c"] as const) {
        taken[caller] += shared.push(caller) === "accepted" ? 1 : 0;
      }
    }
    expect(Math.max(...Object.values(taken)) - Math.min(...Object.values(taken))).toBeLessThanOrEqual(1);
    expect(shared.queue.fullness).toBeCloseTo(3 / 4, 1);
  });

  it("refuses nobody's share while it is less than half full, and counts what is in flight", () => {
    const shared = new SharedQueue(limits);
    const first = shared.flood("a");
    expect(shared.queue.fullness).toBeGreaterThanOrEqual(0.5);
    const batch = shared.queue.take() as Batch;
    expect(shared.push("a")).toBe("over its share");
    shared.queue.putBack(batch);
    expect(shared.push("a")).toBe("over its share");
    const oldest = shared.queue.take() as Batch;
    shared.queue.release(oldest);
    const more = shared.flood("a");
    expect(more).toBeGreaterThan(0);
    expect(more).toBeLessThan(first / 2);
  });

  it("keeps the rule whatever happens to it", () => {
    const operation = fc.oneof(
      { weight: 9, arbitrary: fc.constantFrom("a", "b", "c", "d") },
      fc.constantFrom("seal", "take", "put back", "release"),
    );
    const anyLimits = fc.record({
      flushMaxRows: fc.integer({ min: 1, max: 6 }),
      chunks: fc.integer({ min: 2, max: 12 }),
    });
    fc.assert(
      fc.property(
        anyLimits,
        fc.array(operation, { maxLength: 150 }),
        ({ flushMaxRows, chunks }, operations) => {
          const queueMaxBytes = (chunks * queueMinBytes(flushMaxRows)) / 2;
          const shared = new SharedQueue({ flushMaxRows, queueMaxBytes });
          const { queue } = shared;
          /** Bytes of each caller by batch: the simplest books there are. */
          const books = new Map<Batch, Record<string, number>>();
          const heldBy = (caller: string) =>
            [...books.values()].reduce((sum, shares) => sum + (shares[caller] ?? 0), 0);
          let inFlight: Batch | undefined;
          for (const step of operations) {
            if (step.length === 1) {
              const held = heldBy(step);
              const free = queue.maxBytes - queue.bytes;
              const open = queue.open;
              const before = open.bytes;
              const outcome = shared.push(step);
              expect(outcome === "over its share").toBe(held > 0 && held >= free);
              if (outcome === "accepted") {
                const shares = books.get(open) ?? {};
                shares[step] = (shares[step] ?? 0) + open.bytes - before;
                books.set(open, shares);
              } else if (queue.fullness < 0.5) {
                throw new Error(`refused ${step} in a queue that is not half full`);
              }
            } else if (step === "seal") {
              queue.seal();
            } else if (step === "take") {
              inFlight ??= queue.take();
            } else if (inFlight !== undefined) {
              if (step === "put back") {
                queue.putBack(inFlight);
              } else {
                queue.release(inFlight);
                books.delete(inFlight);
              }
              inFlight = undefined;
            }
          }
        },
      ),
      { numRuns: 300 },
    );
  });

  it("takes as many events of a caller in a row as it says", () => {
    const anyQueue = fc.record({
      flushMaxRows: fc.integer({ min: 1, max: 20 }),
      chunks: fc.integer({ min: 2, max: 12 }),
      others: fc.integer({ min: 0, max: 40 }),
      own: fc.integer({ min: 0, max: 40 }),
    });
    fc.assert(
      fc.property(anyQueue, ({ flushMaxRows, chunks, others, own }) => {
        const queueMaxBytes = (chunks * queueMinBytes(flushMaxRows)) / 2;
        const shared = new SharedQueue({ flushMaxRows, queueMaxBytes });
        for (let i = 0; i < others; i++) {
          shared.push("other");
        }
        for (let i = 0; i < own; i++) {
          shared.push("a");
        }
        let count = 0;
        const isAllowed = (rows: number) =>
          shared.queue.hasRoomFor(rows) && shared.queue.allowsMany(rows, "a");
        while (isAllowed(count + 1)) {
          count += 1;
        }
        for (let i = 0; i < count; i++) {
          expect(shared.push("a")).toBe("accepted");
        }
      }),
      { numRuns: 300 },
    );
  });
});
