import fc from "fast-check";
import { BatchAbandonedError } from "../../../src/ingest/batch.js";
import { IntakeClosedError, QueueFullError } from "../../../src/ingest/refusal.js";
import { type FakeSink, FakeSpool, sinkError } from "../../support/fake-sink.js";
import { durable, FlusherRig, type Watched, watch } from "../../support/flusher-rig.js";

/** What can happen to a Flusher, in any order. */
type Step =
  | { readonly push: number; readonly durable: boolean }
  | { readonly advanceMs: number }
  | { readonly sink: "accept" | "hold" | "transient" | "schema" | "unknown" | "answer lost" }
  | { readonly spool: "works" | "broken" }
  | { readonly held: "succeeds" | "fails" | "succeeds, answer lost" }
  | "close";

const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 8, arbitrary: fc.record({ push: fc.integer({ min: 1, max: 12 }), durable: fc.boolean() }) },
  {
    weight: 6,
    arbitrary: fc.record({ advanceMs: fc.constantFrom(0, 1, 50, 999, 1000, 2000, 5000, 30_000) }),
  },
  {
    weight: 4,
    arbitrary: fc.record({
      sink: fc.constantFrom("accept", "hold", "transient", "schema", "unknown", "answer lost"),
    }),
  },
  { weight: 2, arbitrary: fc.record({ spool: fc.constantFrom("works", "broken") }) },
  {
    weight: 4,
    arbitrary: fc.record({ held: fc.constantFrom("succeeds", "fails", "succeeds, answer lost") }),
  },
  { weight: 1, arbitrary: fc.constant("close" as const) },
);

const scenario = fc.record({
  steps: fc.array(step, { minLength: 1, maxLength: 40 }),
  hasSpool: fc.boolean(),
  /** Whether all faults are over when the service stops. */
  recovers: fc.boolean(),
  obeysAbort: fc.boolean(),
  flushMaxRows: fc.integer({ min: 1, max: 5 }),
  /** In events of the largest size. */
  queueMaxEvents: fc.integer({ min: 10, max: 60 }),
});
type Scenario = typeof scenario extends fc.Arbitrary<infer T> ? T : never;

/** A Flusher, and all that is known of its events from outside. */
class World {
  readonly rig: FlusherRig;
  readonly spool = new FakeSpool();
  /** Ids whose write may have happened although the Flusher was told otherwise: only these may be in two places. */
  readonly #doubtful = new Set<string>();
  readonly #durable: { readonly id: string; readonly outcome: Watched }[] = [];
  #closed: Watched | undefined;

  constructor({ hasSpool, flushMaxRows, queueMaxEvents, obeysAbort }: Scenario) {
    this.rig = FlusherRig.start({
      flushMaxRows,
      queueMaxBytes: queueMaxEvents * 118,
      ...(hasSpool ? { spool: this.spool } : {}),
      random: () => 0.5,
    });
    this.rig.sink.obeysAbort = obeysAbort;
  }

  async take(step: Step): Promise<void> {
    const { rig } = this;
    if (step === "close") {
      this.#closed ??= watch(rig.flusher.close());
    } else if ("push" in step) {
      for (let i = 0; i < step.push; i++) {
        this.#push(step.durable);
      }
    } else if ("advanceMs" in step) {
      await rig.advance(step.advanceMs);
    } else if ("spool" in step) {
      this.spool.isBroken = step.spool === "broken";
    } else if ("sink" in step) {
      rig.sink.mode = step.sink === "answer lost" ? (write) => this.#loseAnswer(write) : step.sink;
    } else {
      this.#answerHeld(step.held);
    }
    await rig.settle();
    this.#checkDurable();
  }

  /** Stops, and waits until the deadline of the shutdown has passed. */
  async stop(): Promise<void> {
    this.#closed ??= watch(this.rig.flusher.close());
    await this.rig.advance(25_000);
    expect(this.#closed.state).toBe("resolved");
    this.#checkDurable();
  }

  recover(): void {
    this.spool.isBroken = false;
    this.rig.sink.mode = "accept";
    this.#answerHeld("succeeds");
  }

  /** Each event that was accepted is in the sink, in the spool or still counted, and none is anywhere twice. */
  checkEnd(): void {
    const { rig, spool } = this;
    const inSink = rig.sink.inserted.map(({ id }) => id);
    const inSpool = spool.stored.map(({ id }) => id);
    const ended = new Set([...inSink, ...inSpool]);
    const accepted = new Set(rig.accepted.map(({ id }) => id));
    expect(new Set(inSink).size).toBe(inSink.length);
    expect(new Set(inSpool).size).toBe(inSpool.length);
    expect([...ended].filter((id) => !accepted.has(id))).toEqual([]);
    expect(inSpool.filter((id) => inSink.includes(id) && !this.#doubtful.has(id))).toEqual([]);
    const unended = [...accepted].filter((id) => !ended.has(id));
    // What is still in memory may have been written too, if the answer was lost.
    expect(rig.flusher.queuedRows).toBeGreaterThanOrEqual(unended.length);
    expect(rig.flusher.queuedRows - unended.length).toBeLessThanOrEqual(this.#doubtful.size);
    for (const { outcome } of this.#durable) {
      expect(outcome.state).not.toBe("pending");
    }
  }

  #push(isDurable: boolean): void {
    try {
      const batch = this.rig.push();
      const { id } = this.rig.accepted.at(-1) ?? { id: "" };
      if (isDurable) {
        this.#durable.push({ id, outcome: watch(durable(this.rig.flusher, batch)) });
      }
    } catch (error) {
      const isStopping = this.#closed !== undefined;
      expect(error).toBeInstanceOf(isStopping ? IntakeClosedError : QueueFullError);
    }
  }

  #loseAnswer(write: FakeSink["last"]): Promise<never> {
    for (const { id } of write.rows) {
      this.#doubtful.add(id);
    }
    write.insert();
    return Promise.reject(sinkError("transient"));
  }

  /** Answers the last write; without effect when it was answered before. */
  #answerHeld(how: "succeeds" | "fails" | "succeeds, answer lost"): void {
    const { sink } = this.rig;
    if (sink.inFlight === 0) {
      return;
    }
    if (how === "succeeds") {
      // One that was aborted may come too late: its rows went elsewhere by then.
      if (sink.last.options.signal.aborted) {
        for (const { id } of sink.last.rows) {
          this.#doubtful.add(id);
        }
      }
      sink.last.succeed();
    } else if (how === "fails") {
      sink.last.fail(sinkError("transient"));
    } else {
      this.#loseAnswer(sink.last).catch(sink.last.fail);
    }
  }

  /** A caller that was told "durable" can count on it; one that was told otherwise knows why. */
  #checkDurable(): void {
    const stable = new Set([...this.rig.sink.inserted, ...this.spool.stored].map(({ id }) => id));
    for (const { id, outcome } of this.#durable) {
      if (outcome.state === "resolved") {
        expect(stable).toContain(id);
      }
      if (outcome.state === "rejected") {
        expect(outcome.error).toBeInstanceOf(BatchAbandonedError);
      }
    }
  }
}

describe("Flusher, whatever happens in whatever order", () => {
  it("balances its books at every step, and ends each accepted event once", async () => {
    await fc.assert(
      fc.asyncProperty(scenario, async (plan) => {
        const world = new World(plan);
        for (const each of plan.steps) {
          await world.take(each);
        }
        if (plan.recovers) {
          world.recover();
        }
        await world.stop();
        world.checkEnd();
        if (plan.recovers && !plan.steps.includes("close")) {
          expect(world.rig.flusher.queuedRows).toBe(0);
        }
        expect(world.rig.sink.maxInFlight).toBeLessThanOrEqual(1);
        expect(world.rig.clock.pendingTimers).toBe(0);
      }),
      { numRuns: 300 },
    );
  });
});
