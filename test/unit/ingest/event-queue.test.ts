import fc from "fast-check";
import { TUPLE_MAX_BYTES } from "../../../src/event/tuple-codec.js";
import type { Batch } from "../../../src/ingest/batch.js";
import { EventQueue, queueMinBytes } from "../../../src/ingest/event-queue.js";
import { anyRow } from "../../support/arbitraries.js";
import { decodeTuples, type IncomingRow } from "../../support/decoded.js";
import { eventOf, row, rowsAt, uuidv7At } from "../../support/encoded.js";
import { FakeClock } from "../../support/fake-clock.js";

const NOW = Date.UTC(2026, 0, 15, 12);
const CHUNK_BYTES = 64 * 1024;

/** An endless supply of different rows. */
function* endlessRows(): Generator<IncomingRow, never> {
  for (let n = 0; ; n++) {
    yield row(uuidv7At(NOW, n), { itemId: n + 1 });
  }
}

/** Appends until there is no room, and returns the rows that were taken. */
function fill(queue: EventQueue, rows = endlessRows()): IncomingRow[] {
  const taken: IncomingRow[] = [];
  for (;;) {
    const next = rows.next().value;
    if (queue.append(eventOf(next)) === undefined) {
      return taken;
    }
    taken.push(next);
  }
}

function rowsOf(batch: Batch | undefined): IncomingRow[] {
  return batch === undefined ? [] : decodeTuples(Buffer.concat(batch.chunks));
}

/** Empties the queue, and returns the rows that were in it. */
function drain(queue: EventQueue): IncomingRow[] {
  const rows: IncomingRow[] = [];
  queue.seal();
  for (let batch = queue.take(); batch !== undefined; batch = queue.take()) {
    rows.push(...rowsOf(batch));
    queue.release(batch);
  }
  return rows;
}

describe("EventQueue", () => {
  it("hands out what was appended, in its order, in batches of at most flushMaxRows", () => {
    const queue = new EventQueue({ queueMaxBytes: 2 ** 20, flushMaxRows: 4 });
    const rows = rowsAt(NOW, 10);
    for (const each of rows) {
      queue.append(eventOf(each));
    }
    expect(queue.hasSealed).toBe(true);
    expect(queue.open.rows).toBe(2);
    queue.seal();
    const batches = [queue.take(), queue.take(), queue.take(), queue.take()];
    expect(batches.map((batch) => batch?.rows)).toEqual([4, 4, 2, undefined]);
    for (const batch of batches) {
      expect(batch?.bytes ?? 0).toBe(Buffer.concat(batch?.chunks ?? []).length);
    }
    expect(batches.flatMap(rowsOf)).toEqual(rows);
  });

  it("tells which batch an event went to", () => {
    const queue = new EventQueue({ queueMaxBytes: 2 ** 20, flushMaxRows: 2 });
    const [first, second, third] = rowsAt(NOW, 3).map((each) => queue.append(eventOf(each)));
    expect(second).toBe(first);
    expect(queue.take()).toBe(first);
    expect(queue.open).toBe(third);
  });

  it("seals nothing when nothing came", () => {
    const queue = new EventQueue({ queueMaxBytes: 2 ** 20, flushMaxRows: 2 });
    queue.seal();
    expect(queue.take()).toBeUndefined();
  });

  it("refuses the newest event when it is full, and evicts none", () => {
    const queue = new EventQueue({ queueMaxBytes: 4 * CHUNK_BYTES, flushMaxRows: 1000 });
    const rows = endlessRows();
    const accepted = fill(queue, rows);
    expect(queue.append(eventOf(rows.next().value))).toBeUndefined();
    expect(queue.rows).toBe(accepted.length);
    expect(drain(queue)).toEqual(accepted);
  });

  it("counts what is in flight, and takes more only when its outcome is known", () => {
    const queue = new EventQueue({ queueMaxBytes: 3 * TUPLE_MAX_BYTES, flushMaxRows: 1 });
    const rows = endlessRows();
    expect(fill(queue, rows)).toHaveLength(3);
    const inFlight = queue.take() as Batch;
    expect(fill(queue, rows)).toEqual([]);
    expect(queue.rows).toBe(3);
    queue.putBack(inFlight);
    expect(fill(queue, rows)).toEqual([]);
    queue.release(queue.take() as Batch);
    expect(fill(queue, rows)).toHaveLength(1);
    expect(queue.rows).toBe(3);
  });

  it("makes a batch that was put back the oldest again", () => {
    const queue = new EventQueue({ queueMaxBytes: 2 ** 20, flushMaxRows: 1 });
    const rows = rowsAt(NOW, 3);
    for (const each of rows) {
      queue.append(eventOf(each));
    }
    queue.putBack(queue.take() as Batch);
    expect(drain(queue)).toEqual(rows);
  });

  it.each([1, 2, 500, 10_000])(
    "stays within queueMaxBytes and can use it, with batches of %d rows",
    (flushMaxRows) => {
      const queueMaxBytes = 10 * CHUNK_BYTES + 1000;
      const queue = new EventQueue({ queueMaxBytes, flushMaxRows });
      const accepted = fill(queue);
      expect(queue.bytes).toBeLessThanOrEqual(queueMaxBytes);
      expect(queue.bytes).toBeGreaterThan(queueMaxBytes - CHUNK_BYTES - 1000);
      expect(queue.fullness).toBe(1);
      // Events of 78 bytes, in room for the largest of 118, at the worst.
      expect(accepted.length).toBeGreaterThan(0.6 * (queueMaxBytes / TUPLE_MAX_BYTES));
      drain(queue);
      expect(queue.bytes).toBe(0);
      expect(queue.rows).toBe(0);
    },
  );

  it.each([1, 3, 555, 556, 100_000])(
    "needs queueMinBytes to go on filling while a batch of up to %d rows is in flight",
    (flushMaxRows) => {
      const queue = new EventQueue({ queueMaxBytes: queueMinBytes(flushMaxRows), flushMaxRows });
      queue.append(eventOf(row(uuidv7At(NOW))));
      queue.seal();
      queue.take();
      expect(queue.append(eventOf(row(uuidv7At(NOW, 1))))).toBeDefined();
    },
  );

  it("has room for as many events as it says, however large they are and full it is", () => {
    const large = { property: "p".repeat(32), remoteIp: "2001:db8::1" };
    const limits = fc.record({
      // A chunk has room for 555 of the largest events.
      flushMaxRows: fc.oneof(fc.integer({ min: 1, max: 1_500 }), fc.constantFrom(555, 556, 1_110, 1_111)),
      chunks: fc.integer({ min: 2, max: 6 }),
      before: fc.integer({ min: 0, max: 1_500 }),
    });
    fc.assert(
      fc.property(limits, ({ flushMaxRows, chunks, before }) => {
        const queueMaxBytes = (chunks * queueMinBytes(flushMaxRows)) / 2;
        const queue = new EventQueue({ queueMaxBytes, flushMaxRows });
        const rows = endlessRows();
        const append = () => queue.append(eventOf({ ...rows.next().value, ...large }));
        for (let i = 0; i < before; i++) {
          append();
        }
        let room = 0;
        while (queue.hasRoomFor(room + 1)) {
          room += 1;
        }
        for (let i = 0; i < room; i++) {
          if (append() === undefined) {
            throw new Error(`no room for event ${i + 1} of ${room}`);
          }
        }
        // What is in the open batch's last chunk may come on top of it.
        const more = fill(queue, rows).length;
        expect(more).toBeLessThanOrEqual((2 * CHUNK_BYTES) / TUPLE_MAX_BYTES);
      }),
      { numRuns: 20 },
    );
  });

  it("tells whether a caller waits for an event in it, batches in flight aside", () => {
    const queue = new EventQueue({ queueMaxBytes: 2 ** 20, flushMaxRows: 10 });
    const batch = queue.append(eventOf(row(uuidv7At(NOW)))) as Batch;
    expect(queue.hasWaiters).toBe(false);
    const gone = () => undefined;
    batch.wait(gone);
    batch.forget(gone);
    expect(queue.hasWaiters).toBe(false);
    batch.wait(() => undefined);
    expect(queue.hasWaiters).toBe(true);
    queue.seal();
    expect(queue.hasWaiters).toBe(true);
    queue.take();
    expect(queue.hasWaiters).toBe(false);
    queue.putBack(batch);
    expect(queue.hasWaiters).toBe(true);
    queue.release(queue.take() as Batch);
    batch.settle();
    expect(queue.hasWaiters).toBe(false);
  });

  it("gives each row back once, unchanged and in order, whatever memory is used again", () => {
    const operation = fc.oneof(
      { weight: 8, arbitrary: fc.record({ push: anyRow() }) },
      fc.constantFrom("seal", "take", "put back", "release"),
    );
    const limits = fc.record({
      flushMaxRows: fc.integer({ min: 1, max: 8 }),
      queueMaxBytes: fc.integer({ min: 0, max: 3_000 }),
    });
    fc.assert(
      fc.property(
        limits,
        fc.array(operation, { maxLength: 120 }),
        ({ flushMaxRows, queueMaxBytes }, operations) => {
          const minBytes = queueMinBytes(flushMaxRows);
          const queue = new EventQueue({ flushMaxRows, queueMaxBytes: Math.max(queueMaxBytes, minBytes) });
          const accepted: IncomingRow[] = [];
          const out: IncomingRow[] = [];
          let inFlight: Batch | undefined;
          for (const step of operations) {
            if (typeof step === "object") {
              if (queue.append(eventOf(step.push)) !== undefined) {
                accepted.push(step.push);
              }
            } else if (step === "seal") {
              queue.seal();
            } else if (step === "take") {
              inFlight ??= queue.take();
            } else if (inFlight !== undefined) {
              if (step === "put back") {
                queue.putBack(inFlight);
              } else {
                out.push(...rowsOf(inFlight));
                queue.release(inFlight);
              }
              inFlight = undefined;
            }
            expect(queue.rows).toBe(accepted.length - out.length);
            expect(queue.bytes).toBeLessThanOrEqual(Math.max(queueMaxBytes, minBytes));
          }
          if (inFlight !== undefined) {
            queue.putBack(inFlight);
          }
          out.push(...drain(queue));
          expect(out).toEqual(accepted);
        },
      ),
      { numRuns: 300 },
    );
  });

  it("tells how long the oldest event has been there, in flight or not, and how many are in flight", async () => {
    const clock = new FakeClock();
    const queue = new EventQueue({ flushMaxRows: 2, queueMaxBytes: queueMinBytes(2) * 4 }, clock);
    const rows = endlessRows();
    const append = () => queue.append(eventOf(rows.next().value));
    expect([queue.oldestAgeMs, queue.inFlightRows]).toEqual([0, 0]);
    append();
    await clock.advance(100);
    append();
    append();
    await clock.advance(50);
    expect([queue.oldestAgeMs, queue.inFlightRows]).toEqual([150, 0]);
    const batch = queue.take() as Batch;
    expect([queue.oldestAgeMs, queue.inFlightRows]).toEqual([150, 2]);
    queue.putBack(batch);
    expect([queue.oldestAgeMs, queue.inFlightRows]).toEqual([150, 0]);
    queue.release(queue.take() as Batch);
    expect([queue.oldestAgeMs, queue.inFlightRows]).toEqual([50, 0]);
  });
});
