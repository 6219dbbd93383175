import { pino } from "pino";
import { IntakeClosedError, QueueFullError } from "../../../src/ingest/refusal.js";
import { SinkError } from "../../../src/sink/sink.js";
import { FakeSink, sinkError } from "../../support/fake-sink.js";
import { FlusherRig } from "../../support/flusher-rig.js";

const CHUNK_BYTES = 64 * 1024;

describe("Flusher", () => {
  it("flushes an event when it is flushIntervalMs old at the latest", async () => {
    const rig = FlusherRig.start({ flushIntervalMs: 1000 });
    await rig.advance(300);
    rig.push();
    await rig.advance(699);
    expect(rig.sink.writes).toHaveLength(0);
    await rig.advance(1);
    expect(rig.sink.inserted).toEqual(rig.accepted);
  });

  it("tells when a batch was written last, and not when one failed", async () => {
    const rig = FlusherRig.start({ flushIntervalMs: 1000, sink: new FakeSink("hold") });
    expect(rig.flusher.lastFlushAt()).toBeUndefined();
    rig.push();
    await rig.advance(1000);
    rig.sink.last.succeed();
    await rig.settle();
    const writtenAt = rig.clock.now();
    rig.push();
    await rig.advance(1000);
    rig.sink.last.fail(sinkError("transient"));
    await rig.settle();
    expect(rig.flusher.lastFlushAt()).toBe(writtenAt);
  });

  it("flushes as soon as flushMaxRows events are there", async () => {
    const rig = FlusherRig.start({ flushMaxRows: 3 });
    rig.pushMany(2);
    await rig.settle();
    expect(rig.sink.writes).toHaveLength(0);
    rig.push();
    await rig.settle();
    expect(rig.sink.inserted).toEqual(rig.accepted);
  });

  it("has one flush in flight, and writes batches in the order of their events", async () => {
    const rig = FlusherRig.start({ flushMaxRows: 3, sink: new FakeSink("hold") });
    rig.pushMany(8);
    for (const rows of [3, 3, 2]) {
      await rig.advance(5000);
      expect(rig.sink.last.rows).toHaveLength(rows);
      rig.sink.last.succeed();
    }
    await rig.settle();
    expect(rig.sink.inserted).toEqual(rig.accepted);
    expect(rig.sink.maxInFlight).toBe(1);
  });

  it("lets no event wait longer because a backlog was in front of it", async () => {
    const rig = FlusherRig.start({ flushIntervalMs: 1000, flushMaxRows: 3, sink: new FakeSink("hold") });
    rig.pushMany(3);
    await rig.advance(500);
    rig.pushMany(4);
    // The tick at 1000 ms finds a full batch to be flushed first.
    await rig.advance(600);
    rig.sink.last.succeed();
    await rig.settle();
    rig.sink.last.succeed();
    await rig.settle();
    expect(rig.sink.last.rows).toEqual(rig.accepted.slice(6));
  });

  it("flushes before the interval when the memory is full", async () => {
    const rig = FlusherRig.start({ flushMaxRows: 100_000, queueMaxBytes: 2 * CHUNK_BYTES });
    rig.pushUntilRefused();
    await rig.settle();
    expect(rig.sink.inserted).toEqual(rig.accepted);
    rig.push();
  });

  it("writes nothing when nothing was pushed, and says so at debug", async () => {
    const rig = FlusherRig.start({ flushIntervalMs: 1000 });
    await rig.advance(3000);
    expect(rig.sink.writes).toHaveLength(0);
    expect(rig.logged("debug")).toEqual(Array(3).fill("flush: nothing queued"));
  });

  it("logs each flush with its rows and how they ended", async () => {
    const rig = FlusherRig.start({ sink: new FakeSink("hold") });
    rig.pushMany(3);
    await rig.advance(250);
    rig.sink.last.succeed();
    await rig.settle();
    expect(rig.log.find(({ msg }) => msg === "flush")).toMatchObject({
      level: pino.levels.values.debug,
      rows: 3,
      inserted: 3,
      duplicates: 0,
      dead: 0,
      durationMs: 250,
    });
  });

  it("counts rows by how they ended", async () => {
    const rig = FlusherRig.start();
    rig.sink.mode = () => Promise.resolve({ inserted: 1, duplicates: 1, dead: 1 });
    rig.pushMany(3);
    await rig.settle();
    expect(rig.ledger.read()).toMatchObject({ accepted: 3, inserted: 1, duplicates: 1, dead: 1 });
  });
});

describe("Flusher, when the sink fails", () => {
  it("keeps the batch and tries the same bytes again, before all that came later", async () => {
    const rig = FlusherRig.start({ flushMaxRows: 3, sink: new FakeSink("transient") });
    rig.pushMany(3);
    await rig.settle();
    rig.pushMany(4);
    await rig.advance(60_000);
    const [first, ...retries] = rig.sink.writes;
    expect(retries.length).toBeGreaterThan(5);
    for (const retry of retries) {
      expect(retry.bytes.equals(first?.bytes ?? Buffer.alloc(0))).toBe(true);
    }
    expect(rig.queue.rows).toBe(7);

    rig.sink.mode = "accept";
    await rig.advance(31_000);
    expect(rig.sink.inserted).toEqual(rig.accepted);
  });

  it("backs off from 100 ms to 30 s, doubling, with full jitter", async () => {
    for (const jitter of [1, 0.5]) {
      const rig = FlusherRig.start({ sink: new FakeSink("transient"), random: () => jitter });
      rig.pushMany(3);
      await rig.settle();
      for (const ceiling of [100, 200, 400, 800, 1600, 3200, 6400, 12_800, 25_600, 30_000, 30_000]) {
        const tries = rig.sink.writes.length;
        await rig.advance(ceiling * jitter - 1);
        expect(rig.sink.writes).toHaveLength(tries);
        await rig.advance(1);
        expect(rig.sink.writes).toHaveLength(tries + 1);
      }
    }
  });

  it("counts the tries of each batch from 1, and backs off from the start after a success", async () => {
    const rig = FlusherRig.start({ flushMaxRows: 3, sink: new FakeSink("transient") });
    rig.pushMany(3);
    await rig.advance(300);
    rig.sink.mode = "accept";
    await rig.advance(400);
    expect(rig.sink.writes.map(({ options }) => options.attempt)).toEqual([1, 2, 3, 4]);
    rig.sink.mode = "transient";
    rig.pushMany(3);
    await rig.advance(100);
    expect(rig.sink.writes.slice(4).map(({ options }) => options.attempt)).toEqual([1, 2]);
  });

  it("logs a transient fault as a warning, and when it is over", async () => {
    const rig = FlusherRig.start({ sink: new FakeSink("transient") });
    rig.pushMany(3);
    await rig.settle();
    expect(rig.log.at(-1)).toMatchObject({
      faultClass: "transient",
      sqlstate: "57P03",
      attempt: 1,
      retryInMs: 100,
    });
    expect(rig.logged("warn")).toEqual(["flush failed; the batch is kept and tried again"]);
    expect(rig.flusher.sinkFault()).toMatchObject({ faultClass: "transient" });
    const failingSince = rig.clock.now();
    await rig.advance(100);
    expect(rig.flusher.failingSince()).toBe(failingSince);

    rig.sink.mode = "accept";
    await rig.advance(200);
    expect(rig.logged("info").slice(-2)).toEqual(["flush: the database takes batches again", "flushed"]);
    expect(rig.flusher.sinkFault()).toBeUndefined();
    expect(rig.flusher.failingSince()).toBeUndefined();
  });

  it.each(["schema", "unknown"] as const)(
    "logs a fault of class %s as an error, and never drops the batch",
    async (faultClass) => {
      const rig = FlusherRig.start({ sink: new FakeSink(faultClass) });
      rig.pushMany(3);
      await rig.advance(24 * 60 * 60 * 1000);
      expect(rig.logged("error").length).toBe(rig.sink.writes.length);
      expect(rig.sink.writes.length).toBeGreaterThan(1000);
      expect(rig.queue.rows).toBe(3);
      rig.sink.mode = "accept";
      await rig.advance(30_000);
      expect(rig.sink.inserted).toEqual(rig.accepted);
    },
  );

  it("retries a fault of the schema slowly: a person has to repair it", async () => {
    const slowest = FlusherRig.start({ sink: new FakeSink("schema") });
    const fastest = FlusherRig.start({ sink: new FakeSink("schema"), random: () => 0 });
    for (const rig of [slowest, fastest]) {
      rig.pushMany(3);
      await rig.advance(10_000);
    }
    expect(slowest.sink.writes).toHaveLength(2);
    expect(fastest.sink.writes).toHaveLength(11);
  });

  it("takes any other error of the sink, thrown at once or later, for an unknown fault", async () => {
    const rig = FlusherRig.start();
    const errors: unknown[] = [];
    const fail = (how: () => Promise<never>) => async () => {
      rig.sink.mode = how;
      await rig.advance(30_000);
      errors.push(rig.flusher.sinkFault());
    };
    rig.pushMany(3);
    await fail(() => Promise.reject(new TypeError("a bug")))();
    await fail(() => {
      throw new RangeError("another bug");
    })();
    expect(errors).toEqual([expect.any(SinkError), expect.any(SinkError)]);
    expect(errors).toMatchObject([
      { faultClass: "unknown", message: "a bug" },
      { faultClass: "unknown", message: "another bug" },
    ]);
    rig.sink.mode = "accept";
    await rig.advance(30_000);
    expect(rig.sink.inserted).toEqual(rig.accepted);
  });

  it("doubles nothing when a batch was written but the answer was lost", async () => {
    const rig = FlusherRig.start();
    rig.sink.mode = async (write) => {
      write.insert();
      throw sinkError("transient");
    };
    rig.pushMany(3);
    await rig.settle();
    rig.sink.mode = "accept";
    await rig.advance(100);
    expect(rig.sink.inserted).toEqual(rig.accepted);
    expect(rig.ledger.read()).toMatchObject({ inserted: 0, duplicates: 3 });
  });
});

describe("Flusher.push", () => {
  it("refuses an event when the queue is full, and keeps those that it took", async () => {
    const rig = FlusherRig.start({
      queueMaxBytes: 3 * CHUNK_BYTES,
      flushMaxRows: 1000,
      sink: new FakeSink("transient"),
    });
    const error = rig.pushUntilRefused();
    expect(error).toBeInstanceOf(QueueFullError);
    expect(rig.queue.bytes).toBe(3 * CHUNK_BYTES);
    await rig.advance(10_000);
    expect(rig.pushUntilRefused()).toBeInstanceOf(QueueFullError);
    rig.sink.mode = "accept";
    await rig.advance(30_000);
    expect(rig.sink.inserted).toEqual(rig.accepted);
  });

  it.each([
    [
      "the time that the backlog takes at the recent rate, spread by 20 %",
      { queueMaxBytes: 2 ** 17, flushMs: 10 },
    ],
    ["no less than 100 ms", { queueMaxBytes: 2 ** 10, flushMs: 1 }],
    ["no more than 30 s", { queueMaxBytes: 2 ** 17, flushMs: 20_000 }],
  ])("tells when to come back: %s", async (_, { queueMaxBytes, flushMs }) => {
    for (const { random, spread } of [
      { random: 0, spread: 0.8 },
      { random: 0.5, spread: 1 },
      { random: 1, spread: 1.2 },
    ]) {
      const rig = FlusherRig.start({ queueMaxBytes, sink: new FakeSink("hold"), random: () => random });
      rig.pushMany(3);
      await rig.advance(flushMs);
      rig.sink.last.succeed();
      await rig.settle();
      const error = rig.pushUntilRefused();
      const drainMs = (rig.queue.rows / 3) * flushMs;
      const retryAfterMs = Math.min(30_000, Math.max(100, Math.round(drainMs * spread)));
      expect(error).toMatchObject({ retryAfterMs });
    }
  });

  it("finds room for as many events at once as it said that it has, or says that it has not", () => {
    const rig = FlusherRig.start({ flushMaxRows: 3, queueMaxBytes: 1_000 });
    rig.flusher.requireRoom(6);
    rig.pushMany(6);
    expect(() => rig.flusher.requireRoom(1)).toThrow(QueueFullError);
    rig.flusher.stopIntake();
    expect(() => rig.flusher.requireRoom(1)).toThrow(IntakeClosedError);
  });

  it("tells those who come with more events than it ever has room for, whether it is empty or full", () => {
    const rig = FlusherRig.start({ flushMaxRows: 3, queueMaxBytes: 1_000 });
    const refusal = "there is never room for 7 events at once";
    expect(() => rig.flusher.requireRoom(7)).toThrow(refusal);
    rig.pushMany(6);
    expect(() => rig.flusher.requireRoom(7)).toThrow(refusal);
  });

  it("tells no one to come back before the next try during an outage", async () => {
    const rig = FlusherRig.start({ queueMaxBytes: 2 ** 12, sink: new FakeSink("schema"), random: () => 0.5 });
    rig.pushMany(3);
    await rig.settle();
    expect(rig.pushUntilRefused()).toMatchObject({ retryAfterMs: 5000 });
  });

  it("refuses events before the start and after the stop, and counts none of them", async () => {
    const rig = new FlusherRig();
    expect(() => rig.push()).toThrow(IntakeClosedError);
    rig.flusher.start();
    rig.push();
    rig.flusher.stopIntake();
    expect(() => rig.push()).toThrow(IntakeClosedError);
    await rig.flusher.close();
    expect(() => rig.push()).toThrow(IntakeClosedError);
    expect(rig.ledger.read()).toMatchObject({ accepted: 1, inserted: 1 });
  });
});
