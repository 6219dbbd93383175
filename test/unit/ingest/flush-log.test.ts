import { pino } from "pino";
import { FlushLog } from "../../../src/ingest/flush-log.js";
import { FakeClock } from "../../support/fake-clock.js";
import { FakeSink, FakeSpool } from "../../support/fake-sink.js";
import { FlusherRig } from "../../support/flusher-rig.js";

/** What the rig logged under a message. */
function lines(rig: FlusherRig, msg: string): object[] {
  return rig.log.filter((line) => line.msg === msg);
}

/** A line about one flush of one row. */
const one = {
  level: pino.levels.values.info,
  flushes: 1,
  rows: 1,
  inserted: 1,
  duplicates: 0,
  dead: 0,
  maxDurationMs: 0,
};

describe("the log of flushes", () => {
  it("has a line at info for the first at once, and then one for all of ten seconds", async () => {
    const rig = FlusherRig.start({ flushMaxRows: 1 });
    rig.push();
    await rig.settle();
    expect(lines(rig, "flushed")).toMatchObject([one]);
    rig.sink.mode = "hold";
    for (const durationMs of [100, 300, 200]) {
      rig.push();
      await rig.settle();
      await rig.advance(durationMs);
      rig.sink.last.succeed();
      await rig.settle();
    }
    expect(lines(rig, "flushed")).toHaveLength(1);
    await rig.advance(10_000);
    expect(lines(rig, "flushed").slice(1)).toMatchObject([
      { ...one, flushes: 3, rows: 3, inserted: 3, maxDurationMs: 300 },
    ]);
    expect(rig.logged("debug").filter((msg) => msg === "flush")).toHaveLength(4);
  });

  it("has no line while there is nothing to flush, and then one at once again", async () => {
    const rig = FlusherRig.start({ flushMaxRows: 1 });
    rig.push();
    await rig.advance(60_000);
    expect(lines(rig, "flushed")).toMatchObject([one]);
    rig.push();
    await rig.settle();
    expect(lines(rig, "flushed")).toMatchObject([one, one]);
  });

  it("has a line at once for the first flush after an outage, and for those before it", async () => {
    const rig = FlusherRig.start({ flushMaxRows: 1 });
    rig.pushMany(3);
    await rig.settle();
    rig.sink.mode = "transient";
    rig.push();
    await rig.settle();
    expect(lines(rig, "flushed")).toMatchObject([one, { ...one, flushes: 2, rows: 2, inserted: 2 }]);
    rig.sink.mode = "accept";
    await rig.advance(1000);
    expect(lines(rig, "flushed").slice(2)).toMatchObject([one]);
  });

  it("has a line at info for the first batch that is spooled, and then one for all of ten seconds", async () => {
    const spool = new FakeSpool();
    const sink = new FakeSink("transient");
    // Room for 100 events, of which half stay in memory.
    spool.freeBytes = 1; // Then batches share no file.
    const rig = FlusherRig.start({ flushMaxRows: 1, queueMaxBytes: 100 * 118, sink, spool });
    rig.pushMany(70);
    await rig.advance(10_000);
    expect(lines(rig, "stored in the buffer")).toMatchObject([
      { batches: 1, rows: 1, queuedRows: 69 },
      { batches: 20, rows: 20, queuedRows: 49 },
    ]);
    expect(lines(rig, "batch stored in the buffer")).toHaveLength(21);
  });

  it("is complete when the Flusher is closed, and has no line after that", async () => {
    const rig = FlusherRig.start({ flushMaxRows: 1 });
    rig.pushMany(5);
    await rig.flusher.close();
    expect(lines(rig, "flushed")).toMatchObject([one, { ...one, flushes: 4, rows: 4, inserted: 4 }]);
    expect(rig.clock.pendingTimers).toBe(0);
  });

  it("warns of dead letters", () => {
    const levels: number[] = [];
    const logger = pino({}, { write: (line) => void levels.push(JSON.parse(line).level) });
    const log = new FlushLog({ clock: new FakeClock(), logger });
    log.written(2, { inserted: 1, duplicates: 0, dead: 1 }, 5);
    log.written(2, { inserted: 2, duplicates: 0, dead: 0 }, 5);
    log.close();
    expect(levels).toEqual([pino.levels.values.warn, pino.levels.values.info]);
  });
});
