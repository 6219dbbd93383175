import { BatchAbandonedError } from "../../../src/ingest/batch.js";
import { QueueFullError } from "../../../src/ingest/refusal.js";
import { FakeSink, FakeSpool } from "../../support/fake-sink.js";
import { FlusherRig, watch } from "../../support/flusher-rig.js";

/** Room for 100 events. */
const SMALL = { flushMaxRows: 1, queueMaxBytes: 100 * 118 };

describe("Flusher with a spool", () => {
  it("spools nothing while the sink takes batches, however full the memory", async () => {
    const spool = new FakeSpool();
    const rig = FlusherRig.start({ ...SMALL, sink: new FakeSink("hold"), spool });
    const durable = watch(rig.pushDurably());
    rig.pushUntilRefused();
    await rig.advance(1999);
    expect(durable.state).toBe("pending");
    expect(spool.stored).toEqual([]);
  });

  it("spools nothing during an outage as long as memory is plenty", async () => {
    const spool = new FakeSpool();
    const rig = FlusherRig.start({ ...SMALL, sink: new FakeSink("transient"), spool });
    rig.pushMany(49);
    await rig.advance(60 * 60 * 1000);
    expect(spool.stored).toEqual([]);
    rig.sink.mode = "accept";
    await rig.advance(30_000);
    expect(rig.sink.inserted).toEqual(rig.accepted);
  });

  it("spools the oldest batches during an outage, until the memory is less than half full", async () => {
    const spool = new FakeSpool();
    spool.freeBytes = 1; // Then batches share no file.
    const rig = FlusherRig.start({ ...SMALL, sink: new FakeSink("transient"), spool });
    rig.pushMany(70);
    await rig.advance(1000);
    expect(spool.stored).toEqual(rig.accepted.slice(0, 21));
    expect(rig.ledger.buffered).toBe(21);

    rig.sink.mode = "accept";
    await rig.advance(30_000);
    expect(rig.sink.inserted).toEqual(rig.accepted.slice(21));
  });

  it("puts small batches into one file in an outage, up to what a usual batch has", async () => {
    const spool = new FakeSpool();
    const options = { flushMaxRows: 100, queueMaxBytes: 2 * 12_000 * 118, flushIntervalMs: 60_000 };
    const rig = FlusherRig.start({ ...options, sink: new FakeSink("hold"), spool });
    rig.pushMany(12_100);
    await rig.advance(2_000);
    expect(spool.files[0]).toBe(10_000);
    expect(spool.stored).toEqual(rig.accepted.slice(100, 100 + spool.stored.length));
  });

  it("puts the small batches that are left at the deadline into few files, whose callers are all told", async () => {
    const spool = new FakeSpool();
    const options = { flushMaxRows: 1, shutdownTimeoutMs: 1_000, flushIntervalMs: 60_000 };
    const rig = FlusherRig.start({ ...options, sink: new FakeSink("hold"), spool });
    rig.pushMany(100);
    const durable = watch(rig.pushDurably());
    const closed = watch(rig.flusher.close());
    await rig.advance(1_000);
    expect([closed.state, durable.state]).toEqual(["resolved", "resolved"]);
    expect(spool.files).toEqual([101]);
    expect(spool.stored).toEqual(rig.accepted);
  });

  it("joins no more batches than the spool has room for", async () => {
    const spool = new FakeSpool();
    const rig = FlusherRig.start({ flushMaxRows: 1, sink: new FakeSink("transient"), spool });
    const batch = rig.push();
    rig.pushMany(9);
    spool.freeBytes = 4 * batch.bytes;
    rig.flusher.stopIntake();
    await rig.settle();
    expect(spool.files).toEqual([4, 4, 2]);
    expect(spool.stored).toEqual(rig.accepted);
  });

  it("keeps the order of batches that were to share a file when the spool takes none of them", async () => {
    const spool = new FakeSpool();
    const rig = FlusherRig.start({ flushMaxRows: 1, sink: new FakeSink("transient"), spool });
    rig.pushMany(10);
    spool.isBroken = true;
    rig.flusher.stopIntake();
    await rig.settle();
    rig.sink.mode = "accept";
    await rig.advance(1_000);
    expect(rig.sink.inserted).toEqual(rig.accepted);
  });

  it("takes a flush that lasts two seconds for an outage, and leaves its batch alone", async () => {
    const spool = new FakeSpool();
    spool.freeBytes = 1; // Then batches share no file.
    const rig = FlusherRig.start({ ...SMALL, flushIntervalMs: 60_000, sink: new FakeSink("hold"), spool });
    rig.pushMany(70);
    await rig.advance(1999);
    expect(spool.stored).toEqual([]);
    await rig.advance(1);
    expect(spool.stored).toEqual(rig.accepted.slice(1, 22));
    rig.sink.mode = "accept";
    rig.sink.last.succeed();
    await rig.settle();
    expect(rig.sink.inserted).toEqual([...rig.accepted.slice(0, 1), ...rig.accepted.slice(22)]);
  });

  it("spools for callers that wait for durability during an outage, gathering them for 10 ms", async () => {
    const spool = new FakeSpool();
    const rig = FlusherRig.start({ sink: new FakeSink("transient"), spool });
    rig.push();
    const first = watch(rig.pushDurably());
    await rig.settle();
    expect(first.state).toBe("resolved");
    const second = watch(rig.pushDurably());
    await rig.advance(9);
    const third = watch(rig.pushDurably());
    expect(second.state).toBe("pending");
    await rig.advance(1);
    expect([second.state, third.state]).toEqual(["resolved", "resolved"]);
    expect(spool.stored).toEqual(rig.accepted);
  });

  it("tries at once what it kept when it hears that the sink works", async () => {
    const rig = FlusherRig.start({ sink: new FakeSink("transient"), spool: new FakeSpool() });
    rig.push();
    await rig.advance(60_000);
    rig.sink.mode = "accept";
    rig.flusher.sinkWorks();
    await rig.settle();
    expect(rig.sink.inserted).toEqual(rig.accepted);
    expect(rig.flusher.sinkFault()).toBeUndefined();
  });

  it("tells of a batch that the spool had when it is asked for the last that was written", () => {
    const rig = FlusherRig.start({ sink: new FakeSink("accept"), spool: new FakeSpool() });
    expect(rig.flusher.lastFlushAt()).toBeUndefined();
    rig.flusher.sinkWorks();
    expect(rig.flusher.lastFlushAt()).toBe(rig.clock.now());
  });

  it("at the deadline puts on disk what fits and gives up the rest, not all of it", async () => {
    const spool = new FakeSpool();
    const rig = FlusherRig.start({ ...SMALL, flushIntervalMs: 60_000, sink: new FakeSink("hold"), spool });
    rig.pushMany(50);
    spool.failNext();
    rig.flusher.stopIntake();
    await rig.advance(60_000);
    await rig.flusher.close();
    expect(spool.stored.length).toBeGreaterThan(0);
    expect(rig.flusher.queuedRows).toBe(50 - spool.stored.length);
  });

  it("spools for a caller that waits while a flush hangs, without waiting for the interval", async () => {
    const spool = new FakeSpool();
    const rig = FlusherRig.start({ flushIntervalMs: 60_000, sink: new FakeSink("hold"), spool });
    rig.pushMany(3);
    await rig.advance(10_000);
    const durable = watch(rig.pushDurably());
    await rig.settle();
    expect(durable.state).toBe("resolved");
    expect(spool.stored).toEqual(rig.accepted.slice(3));
  });

  it("spools all that is left when the sink fails during the shutdown", async () => {
    const spool = new FakeSpool();
    const rig = FlusherRig.start({ flushMaxRows: 3, sink: new FakeSink("transient"), spool });
    rig.pushMany(8);
    const closed = watch(rig.flusher.close());
    await rig.settle();
    expect(closed.state).toBe("resolved");
    expect(spool.stored).toEqual(rig.accepted);
    expect(rig.queue.rows).toBe(0);
  });

  it("spools the batch in flight too when the deadline has passed", async () => {
    const spool = new FakeSpool();
    const rig = FlusherRig.start({
      flushMaxRows: 3,
      shutdownTimeoutMs: 25_000,
      sink: new FakeSink("hold"),
      spool,
    });
    rig.sink.obeysAbort = false;
    rig.pushMany(2);
    const durable = watch(rig.pushDurably());
    rig.pushMany(5);
    const closed = watch(rig.flusher.close());
    await rig.advance(25_000);
    expect(closed.state).toBe("resolved");
    expect(durable.state).toBe("resolved");
    expect(spool.stored.toSorted((a, b) => a.itemId - b.itemId)).toEqual(rig.accepted);
    expect(rig.queue.rows).toBe(0);
  });
});

const CANNOT_WRITE = "buffer: cannot store; the batch stays in memory";

describe("Flusher with a spool that cannot be written", () => {
  it("keeps the batch in memory, tries the spool again every five seconds, and says so once at error", async () => {
    const spool = new FakeSpool();
    spool.isBroken = true;
    spool.freeBytes = 1; // Then batches share no file.
    const rig = FlusherRig.start({ ...SMALL, sink: new FakeSink("transient"), spool });
    rig.pushMany(70);
    await rig.advance(12_000);
    expect(rig.logged("error")).toEqual([CANNOT_WRITE]);
    expect(rig.logged("debug").filter((msg) => msg === CANNOT_WRITE)).toHaveLength(2);
    expect(rig.queue.rows).toBe(70);

    spool.isBroken = false;
    await rig.advance(5000);
    expect(spool.stored).toEqual(rig.accepted.slice(0, 21));
    rig.sink.mode = "accept";
    await rig.advance(30_000);
    expect(rig.sink.inserted).toEqual(rig.accepted.slice(21));
  });

  it("says so again in a later outage", async () => {
    const spool = new FakeSpool();
    spool.isBroken = true;
    const rig = FlusherRig.start({ ...SMALL, sink: new FakeSink("transient"), spool });
    rig.pushMany(70);
    await rig.advance(6000);
    rig.sink.mode = "accept";
    await rig.advance(30_000);
    expect(rig.queue.rows).toBe(0);

    rig.sink.mode = "transient";
    rig.pushMany(70);
    await rig.advance(6000);
    expect(rig.logged("error")).toEqual([CANNOT_WRITE, CANNOT_WRITE]);
  });

  it("goes on trying the sink meanwhile", async () => {
    const spool = new FakeSpool();
    spool.isBroken = true;
    const rig = FlusherRig.start({ sink: new FakeSink("transient"), spool });
    const durable = watch(rig.pushDurably());
    await rig.advance(1000);
    expect(durable.state).toBe("pending");
    expect(rig.sink.writes.length).toBeGreaterThan(3);
    rig.sink.mode = "accept";
    await rig.advance(1000);
    expect(durable.state).toBe("resolved");
  });

  it("tries the spool once more at the deadline, and then gives up with the rows counted", async () => {
    const spool = new FakeSpool();
    spool.isBroken = true;
    const rig = FlusherRig.start({ shutdownTimeoutMs: 11_000, sink: new FakeSink("transient"), spool });
    const durable = watch(rig.pushDurably());
    const closed = watch(rig.flusher.close());
    await rig.advance(10_999);
    const tries = (): number => rig.log.filter(({ msg }) => msg === CANNOT_WRITE).length;
    const triesBefore = tries();
    await rig.advance(1);
    expect(tries()).toBe(triesBefore + 1);
    expect(rig.logged("error").at(-1)).toBe("flusher: done, but events could be put nowhere");
    expect(closed.state).toBe("resolved");
    expect(durable.state).toBe("rejected");
    expect(rig.flusher.queuedRows).toBe(1);
  });
});

describe("Flusher with a spool that hangs", () => {
  it("goes on trying the sink, and writes what came since when that is back", async () => {
    const spool = new FakeSpool();
    const rig = FlusherRig.start({ sink: new FakeSink("transient"), spool });
    const held = watch(rig.pushDurably());
    await rig.settle();
    spool.hang();
    await rig.advance(1000);
    expect(held.state).toBe("resolved");
    const hanging = watch(rig.pushDurably());
    await rig.advance(1000);
    expect(spool.held).toHaveLength(1);

    rig.sink.mode = "accept";
    const later = watch(rig.pushDurably());
    await rig.advance(30_000);
    expect([hanging.state, later.state]).toEqual(["pending", "resolved"]);
    expect(rig.sink.inserted).toEqual(rig.accepted.slice(2));
    expect(rig.flusher.queuedRows).toBe(1);

    spool.answer();
    await rig.settle();
    expect(hanging.state).toBe("resolved");
    expect(spool.stored).toEqual(rig.accepted.slice(0, 2));
    expect(rig.flusher.queuedRows).toBe(0);
  });

  it("gives it no second batch, and refuses new events when the memory is full, with the batch in it", async () => {
    const spool = new FakeSpool();
    const rig = FlusherRig.start({ ...SMALL, sink: new FakeSink("transient"), spool });
    spool.hang();
    expect(rig.pushUntilRefused()).toBeInstanceOf(QueueFullError);
    await rig.advance(60_000);
    expect(spool.held).toHaveLength(1);
    expect(rig.accepted).toHaveLength(100);
    expect(rig.pushUntilRefused()).toBeInstanceOf(QueueFullError);
    expect(rig.accepted).toHaveLength(100);
  });

  it("writes a batch that the spool gives back at last, once", async () => {
    const spool = new FakeSpool();
    const rig = FlusherRig.start({ sink: new FakeSink("transient"), spool });
    spool.hang();
    const durable = watch(rig.pushDurably());
    await rig.advance(10_000);
    rig.sink.mode = "accept";
    spool.failNext();
    spool.answer();
    await rig.advance(30_000);
    expect(durable.state).toBe("resolved");
    expect(spool.stored).toEqual([]);
    expect(rig.sink.inserted).toEqual(rig.accepted);
  });

  it("waits for it at the deadline; what it gives back then is put nowhere, and callers that wait are told", async () => {
    const spool = new FakeSpool();
    const rig = FlusherRig.start({ shutdownTimeoutMs: 25_000, sink: new FakeSink("transient"), spool });
    spool.hang();
    const durable = watch(rig.pushDurably());
    await rig.settle();
    const closed = watch(rig.flusher.close());
    await rig.advance(25_000);
    expect(closed.state).toBe("pending");
    spool.isBroken = true;
    spool.answer();
    await rig.settle();
    expect(closed.state).toBe("resolved");
    expect(durable).toEqual({ state: "rejected", error: expect.any(BatchAbandonedError) });
    expect(rig.flusher.queuedRows).toBe(1);
    expect(rig.log.at(-1)).toMatchObject({ msg: "flusher: done, but events could be put nowhere", rows: 1 });
    expect(rig.clock.pendingTimers).toBe(0);
  });
});
