import { BatchAbandonedError } from "../../../src/ingest/batch.js";
import { FakeSink, FakeSpool } from "../../support/fake-sink.js";
import { FlusherRig, watch } from "../../support/flusher-rig.js";

describe("Flusher.close", () => {
  it("writes all that is queued, in order, without waiting for the interval", async () => {
    const rig = FlusherRig.start({ flushMaxRows: 3 });
    rig.pushMany(8);
    await rig.flusher.close();
    expect(rig.sink.inserted).toEqual(rig.accepted);
    expect(rig.queue.rows).toBe(0);
    rig.checkBooks();
  });

  it("waits for the flush in flight", async () => {
    const rig = FlusherRig.start({ sink: new FakeSink("hold") });
    rig.pushMany(4);
    await rig.settle();
    const closed = watch(rig.flusher.close());
    await rig.settle();
    rig.sink.last.succeed();
    await rig.settle();
    expect(closed.state).toBe("pending");
    rig.sink.last.succeed();
    await rig.settle();
    expect(closed.state).toBe("resolved");
    expect(rig.sink.inserted).toEqual(rig.accepted);
  });

  it("tries a failed batch at once, with a new backoff, however long the old one was", async () => {
    const rig = FlusherRig.start({ sink: new FakeSink("schema") });
    rig.pushMany(3);
    await rig.settle();
    expect(rig.sink.writes).toHaveLength(1);
    const closed = watch(rig.flusher.close());
    rig.sink.mode = "transient";
    await rig.settle();
    expect(rig.sink.writes).toHaveLength(2);
    rig.sink.mode = "accept";
    await rig.advance(100);
    expect(closed.state).toBe("resolved");
    expect(rig.sink.inserted).toEqual(rig.accepted);
  });

  it("tells how long the drain has been going on, and then how long it took", async () => {
    const rig = FlusherRig.start({ sink: new FakeSink("hold") });
    rig.push();
    expect(rig.flusher.drainMs).toBeUndefined();
    const closed = rig.flusher.close();
    await rig.advance(300);
    expect(rig.flusher.drainMs).toBe(300);
    rig.sink.last.succeed();
    await closed;
    await rig.advance(1_000);
    expect(rig.flusher.drainMs).toBe(300);
  });

  it("says what it does: cancel received, drained, done", async () => {
    const rig = FlusherRig.start();
    rig.push();
    await rig.flusher.close();
    expect(rig.logged("info")).toEqual([
      "flusher started",
      "flusher: cancel received, draining",
      "flushed",
      "flusher: drained, done",
    ]);
  });

  it("may be called twice, and at the same time", async () => {
    const rig = FlusherRig.start({ sink: new FakeSink("hold") });
    rig.push();
    const closings = [watch(rig.flusher.close()), watch(rig.flusher[Symbol.asyncDispose]())];
    await rig.settle();
    expect(closings.map(({ state }) => state)).toEqual(["pending", "pending"]);
    rig.sink.last.succeed();
    await rig.settle();
    expect(closings.map(({ state }) => state)).toEqual(["resolved", "resolved"]);
    await rig.flusher.close();
    expect(rig.sink.writes).toHaveLength(1);
  });

  it("may be called before the start, which then has no effect", async () => {
    const rig = new FlusherRig();
    await rig.flusher.close();
    rig.flusher.start();
    await rig.advance(5000);
    expect(rig.log).toEqual([]);
    expect(rig.clock.pendingTimers).toBe(0);
  });

  it("leaves no timer behind", async () => {
    const rig = FlusherRig.start();
    rig.push();
    await rig.flusher.close();
    expect(rig.clock.pendingTimers).toBe(0);
  });
});

describe("Flusher.stopIntake", () => {
  it("starts the drain, and the deadline, before close is called", async () => {
    const rig = FlusherRig.start({ shutdownTimeoutMs: 10_000, sink: new FakeSink("hold") });
    rig.push();
    rig.flusher.stopIntake();
    await rig.advance(6000);
    expect(rig.sink.writes).toHaveLength(1);
    const closed = watch(rig.flusher.close());
    await rig.advance(3999);
    expect(closed.state).toBe("pending");
    await rig.advance(1);
    expect(closed.state).toBe("resolved");
  });
});

describe("Flusher.close, at the deadline", () => {
  it.each([
    ["a sink that hangs", true],
    ["a sink that hangs and does not heed the abort", false],
  ])("gives up on %s: the rows stay counted, and callers that wait are told", async (_, obeysAbort) => {
    const rig = FlusherRig.start({ shutdownTimeoutMs: 25_000, sink: new FakeSink("hold") });
    rig.sink.obeysAbort = obeysAbort;
    const inFlight = watch(rig.pushDurably());
    await rig.settle();
    const queued = watch(rig.pushDurably());
    rig.pushMany(5);
    const closed = watch(rig.flusher.close());
    await rig.advance(24_999);
    expect(rig.sink.last.options.signal.aborted).toBe(false);
    expect(closed.state).toBe("pending");

    await rig.advance(1);
    expect(rig.sink.last.options.signal.aborted).toBe(true);
    expect(closed.state).toBe("resolved");
    expect(rig.flusher.queuedRows).toBe(7);
    expect(inFlight).toEqual({ state: "rejected", error: expect.any(BatchAbandonedError) });
    expect(queued).toEqual({ state: "rejected", error: expect.any(BatchAbandonedError) });
    expect(rig.log.at(-1)).toMatchObject({ msg: "flusher: done, but events could be put nowhere", rows: 7 });
    expect(rig.clock.pendingTimers).toBe(0);
  });

  it("does not call the end of the try in flight a failure: it is the stop's own doing", async () => {
    const sink = new FakeSink("hold");
    const rig = FlusherRig.start({ shutdownTimeoutMs: 25_000, sink, spool: new FakeSpool() });
    rig.pushMany(3);
    await rig.settle();
    const closed = watch(rig.flusher.close());
    await rig.advance(25_000);
    expect(closed.state).toBe("resolved");
    expect([...rig.logged("warn"), ...rig.logged("error")]).toEqual([]);
    expect(rig.logged("info")).toContain("flush ended by the stop; its batch goes where the rest goes");
    expect(rig.ledger.buffered).toBe(3);
    expect(rig.flusher.sinkFault()).toBeUndefined();
  });

  it("gives up on a sink that fails, and on a backoff that would end later", async () => {
    const rig = FlusherRig.start({ shutdownTimeoutMs: 25_000, sink: new FakeSink("transient") });
    rig.pushMany(4);
    const closed = watch(rig.flusher.close());
    await rig.advance(24_999);
    expect(rig.sink.writes.length).toBeGreaterThan(6);
    expect(closed.state).toBe("pending");
    await rig.advance(1);
    expect(closed.state).toBe("resolved");
    expect(rig.flusher.queuedRows).toBe(4);
  });

  it("begins no try after it, even without a backoff to wait for", async () => {
    const rig = FlusherRig.start({ shutdownTimeoutMs: 25_000, sink: new FakeSink("hold"), random: () => 0 });
    rig.push();
    const closed = watch(rig.flusher.close());
    await rig.advance(25_000);
    expect(closed.state).toBe("resolved");
    expect(rig.sink.writes).toHaveLength(1);
  });

  it("writes all that the sink takes until then", async () => {
    const rig = FlusherRig.start({ flushMaxRows: 3, shutdownTimeoutMs: 25_000, sink: new FakeSink("hold") });
    rig.pushMany(9);
    const closed = watch(rig.flusher.close());
    await rig.advance(24_000);
    rig.sink.last.succeed();
    await rig.advance(1000);
    expect(closed.state).toBe("resolved");
    expect(rig.sink.inserted).toEqual(rig.accepted.slice(0, 3));
    expect(rig.flusher.queuedRows).toBe(6);
  });

  it("gives no time to drain with a time-out of 0, and still resolves", async () => {
    const rig = FlusherRig.start({ shutdownTimeoutMs: 0, sink: new FakeSink("hold") });
    rig.push();
    const closed = watch(rig.flusher.close());
    await rig.advance(0);
    expect(closed.state).toBe("resolved");
    expect(rig.flusher.queuedRows).toBe(1);
  });
});
