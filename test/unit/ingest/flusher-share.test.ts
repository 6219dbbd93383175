import { FairShareError, QueueFullError, TooManyEventsError } from "../../../src/ingest/refusal.js";
import { eventOf, row, uuidv7At } from "../../support/encoded.js";
import { FakeSink } from "../../support/fake-sink.js";
import { FlusherRig } from "../../support/flusher-rig.js";

const ROWS = 1_000;
const EVENT = eventOf(row(uuidv7At(Date.UTC(2026, 0, 15, 12))));

/** A Flusher whose queue has room for some thousands of events, and whose sink answers when it is told. */
function startFlusher() {
  const sink = new FakeSink("hold");
  const { flusher, clock } = FlusherRig.start({ sink, flushMaxRows: ROWS, queueMaxBytes: 10 * 64 * 1024 });
  return { flusher, sink, clock };
}

/** Pushes until that is refused; returns how many events were taken, and the refusal. */
function flood(push: () => void): { taken: number; refusal: unknown } {
  for (let taken = 0; ; taken++) {
    try {
      push();
    } catch (refusal) {
      return { taken, refusal };
    }
  }
}

describe("a Flusher that callers share", () => {
  it("refuses one that has its share, and still takes from another", () => {
    const { flusher } = startFlusher();
    const { taken, refusal } = flood(() => flusher.push(EVENT, "noisy"));
    expect(taken).toBeGreaterThan(3 * ROWS);
    expect(refusal).toBeInstanceOf(FairShareError);
    expect(refusal).toMatchObject({ message: "the caller's share of the queue is full" });
    expect((refusal as FairShareError).retryAfterMs).toBeGreaterThan(0);
    flusher.push(EVENT, "quiet");
    expect(() => flusher.push(EVENT, "noisy")).toThrow(FairShareError);
  });

  it("takes from it again only when the outcome of what it holds is known", async () => {
    const { flusher, sink, clock } = startFlusher();
    flood(() => flusher.push(EVENT, "noisy"));
    await clock.settle();
    expect(sink.inFlight).toBe(1);
    sink.last.fail(new Error("thrown by the test"));
    await clock.settle();
    expect(() => flusher.push(EVENT, "noisy")).toThrow(FairShareError);
    await clock.advance(1_000);
    sink.last.succeed();
    await clock.settle();
    flusher.push(EVENT, "noisy");
  });

  it("refuses what comes all at once by the same rule", () => {
    const { flusher } = startFlusher();
    flusher.requireRoom(ROWS, "noisy");
    flood(() => flusher.push(EVENT, "noisy"));
    expect(() => flusher.requireRoom(1, "noisy")).toThrow(FairShareError);
    flusher.requireRoom(100, "quiet");
  });

  it("tells one that comes with more at once than its share ever is", () => {
    const { flusher } = startFlusher();
    let rows = 1;
    const fits = (caller?: string) => {
      try {
        flusher.requireRoom(rows, caller);
        return true;
      } catch (error) {
        expect(error).toBeInstanceOf(TooManyEventsError);
        return false;
      }
    };
    while (fits("noisy")) {
      rows += 1;
    }
    expect(rows).toBeGreaterThan(ROWS);
    expect(fits()).toBe(true);
    rows -= 1;
    flusher.push(EVENT, "noisy");
    flood(() => flusher.push(EVENT, "noisy"));
    expect(() => flusher.requireRoom(rows, "noisy")).toThrow(QueueFullError);
  });

  it("shares nothing where callers have no name", () => {
    const { flusher } = startFlusher();
    const named = flood(() => flusher.push(EVENT, "noisy"));
    const nameless = flood(() => flusher.push(EVENT));
    expect(nameless.refusal).toBeInstanceOf(QueueFullError);
    expect(nameless.refusal).not.toBeInstanceOf(FairShareError);
    expect(nameless.taken).toBeGreaterThan(named.taken / 2);
  });
});
