import { FakeSink } from "../../support/fake-sink.js";
import { FlusherRig, watch } from "../../support/flusher-rig.js";

/** Makes a method throw, the next `times` times that it is called. */
function breakMethod<T, K extends keyof T>(target: T, name: K, times: number): void {
  const original = target[name];
  let left = times;
  const broken = (...args: unknown[]): unknown => {
    if (left-- > 0) {
      throw new Error(`${String(name)} is broken`);
    }
    return (original as (...args: unknown[]) => unknown).apply(target, args);
  };
  Object.defineProperty(target, name, { value: broken, configurable: true });
}

describe("The flush loop", () => {
  it("tells that it failed, restarts, and loses nothing", async () => {
    const rig = FlusherRig.start();
    await rig.settle();
    breakMethod(rig.queue, "take", 1);
    rig.pushMany(4);
    await rig.settle();
    expect(rig.flusher.fault()).toBe("the flush loop failed: take is broken");
    expect(rig.log.at(-1)).toMatchObject({
      msg: "a background loop failed and restarts",
      err: { message: "take is broken" },
      crashes: 1,
    });
    await rig.advance(100);
    expect(rig.flusher.fault()).toBeUndefined();
    await rig.advance(1000);
    expect(rig.sink.inserted).toEqual(rig.accepted);
  });

  it("restarts ever more slowly, up to every ten seconds, when it keeps failing", async () => {
    const rig = FlusherRig.start({ flushIntervalMs: 60_000 });
    await rig.settle();
    breakMethod(rig.queue, "take", 1000);
    const crashes = () => rig.logged("error").length;
    rig.pushMany(3);
    await rig.settle();
    for (const pauseMs of [100, 200, 400, 800, 1600, 3200, 6400, 10_000, 10_000]) {
      const before = crashes();
      await rig.advance(pauseMs - 1);
      expect(crashes()).toBe(before);
      await rig.advance(1);
      expect(crashes()).toBe(before + 1);
    }
  });

  it("serves callers that wait for durability after it has restarted", async () => {
    const rig = FlusherRig.start();
    breakMethod(rig.queue, "take", 2);
    const durable = watch(rig.pushDurably());
    await rig.advance(300);
    expect(durable.state).toBe("resolved");
  });

  it("restarts while it drains, and drains to the end", async () => {
    const rig = FlusherRig.start();
    rig.pushMany(4);
    breakMethod(rig.queue, "take", 3);
    const closed = watch(rig.flusher.close());
    await rig.advance(700);
    expect(closed.state).toBe("resolved");
    expect(rig.sink.inserted).toEqual(rig.accepted);
  });

  it("keeps the batch when what follows on its failure fails too", async () => {
    let isBroken = true;
    const random = () => {
      if (isBroken) {
        throw new Error("no entropy");
      }
      return 0.5;
    };
    const rig = FlusherRig.start({ sink: new FakeSink("transient"), random });
    rig.pushMany(3);
    await rig.settle();
    expect(rig.flusher.fault()).toBe("the flush loop failed: no entropy");
    isBroken = false;
    rig.sink.mode = "accept";
    await rig.advance(100);
    expect(rig.flusher.fault()).toBeUndefined();
    expect(rig.sink.inserted).toEqual(rig.accepted);
  });

  it("tries a batch again, and books it once, when the sink's answer is unusable", async () => {
    const rig = FlusherRig.start();
    rig.sink.mode = (() => Promise.resolve(undefined)) as unknown as typeof rig.sink.mode;
    rig.pushMany(3);
    await rig.settle();
    expect(rig.queue.rows).toBe(3);
    rig.sink.mode = "accept";
    await rig.advance(100);
    expect(rig.ledger.read()).toMatchObject({ accepted: 3, inserted: 3 });
  });
});
