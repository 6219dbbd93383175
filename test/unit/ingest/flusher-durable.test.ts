import { FakeSink } from "../../support/fake-sink.js";
import { durable, FlusherRig, watch } from "../../support/flusher-rig.js";

describe("Flusher.awaitDurable", () => {
  it("resolves when the sink has taken the batch, and not before", async () => {
    const rig = FlusherRig.start({ sink: new FakeSink("hold") });
    const durable = watch(rig.pushDurably());
    await rig.advance(1999);
    expect(rig.sink.writes).toHaveLength(1);
    expect(durable.state).toBe("pending");
    rig.sink.last.succeed();
    await rig.settle();
    expect(durable.state).toBe("resolved");
  });

  it("waits for no timer when nothing is in flight", async () => {
    const rig = FlusherRig.start();
    await rig.advance(2500);
    const durable = watch(rig.pushDurably());
    await rig.settle();
    expect(durable.state).toBe("resolved");
  });

  it("serves all callers that wait with one flush, events of others included", async () => {
    const rig = FlusherRig.start({ flushMaxRows: 100 });
    rig.push();
    const waiting = [1, 2, 3].map(() => watch(rig.pushDurably()));
    await rig.settle();
    expect(waiting.map(({ state }) => state)).toEqual(["resolved", "resolved", "resolved"]);
    expect(rig.sink.writes).toHaveLength(1);
    expect(rig.sink.inserted).toEqual(rig.accepted);
  });

  it("makes what arrives during a flush the next batch, at once when that flush ends", async () => {
    const rig = FlusherRig.start({ flushMaxRows: 100, sink: new FakeSink("hold") });
    const first = watch(rig.pushDurably());
    await rig.settle();
    const others = [1, 2, 3].map(() => watch(rig.pushDurably()));
    await rig.settle();
    expect(rig.sink.writes).toHaveLength(1);

    rig.sink.last.succeed();
    await rig.settle();
    expect(first.state).toBe("resolved");
    expect(rig.sink.last.rows).toHaveLength(3);
    expect(others.map(({ state }) => state)).toEqual(["pending", "pending", "pending"]);

    rig.sink.last.succeed();
    await rig.settle();
    expect(others.map(({ state }) => state)).toEqual(["resolved", "resolved", "resolved"]);
  });

  it("goes on waiting while the batch is tried again", async () => {
    const rig = FlusherRig.start({ sink: new FakeSink("transient") });
    const durable = watch(rig.pushDurably());
    await rig.advance(50);
    expect(durable.state).toBe("pending");
    rig.sink.mode = "accept";
    await rig.advance(50);
    expect(durable.state).toBe("resolved");
  });

  it("does not hurry the next try of a batch that failed", async () => {
    const rig = FlusherRig.start({ sink: new FakeSink("transient") });
    void rig.pushDurably();
    await rig.settle();
    const durable = watch(rig.pushDurably());
    await rig.advance(99);
    expect(rig.sink.writes).toHaveLength(1);
    rig.sink.mode = "accept";
    await rig.advance(1);
    expect(durable.state).toBe("resolved");
  });

  it("resolves at once for a batch that is on stable storage already", async () => {
    const rig = FlusherRig.start();
    const batch = rig.push();
    await rig.advance(1000);
    await durable(rig.flusher, batch);
  });
});
