import type { FlushObserver } from "../../../src/ingest/flush-log.js";
import { FakeSink, sinkError } from "../../support/fake-sink.js";
import { FlusherRig } from "../../support/flusher-rig.js";

/** Notes what it hears. */
class Notes implements FlushObserver {
  readonly heard: unknown[] = [];

  written(...[{ rows }, outcome, durationMs]: Parameters<FlushObserver["written"]>): void {
    this.heard.push({ rows, ...outcome, durationMs });
  }

  failed(...[faultClass, durationMs]: Parameters<FlushObserver["failed"]>): void {
    this.heard.push({ faultClass, durationMs });
  }
}

test("an observer hears of each try of a batch: the class of its fault, or where its rows ended, and its time", async () => {
  const observer = new Notes();
  const rig = FlusherRig.start({ sink: new FakeSink("hold"), observer, flushMaxRows: 3 });
  rig.pushMany(3);
  await rig.advance(40);
  rig.sink.last.fail(sinkError("transient"));
  await rig.settle();
  await rig.advance(100);
  rig.sink.mode = "accept";
  rig.sink.last.succeed();
  await rig.settle();
  expect(observer.heard).toEqual([
    { faultClass: "transient", durationMs: 40 },
    { rows: 3, inserted: 3, duplicates: 0, dead: 0, durationMs: 0 },
  ]);
  await rig.flusher.close();
});
