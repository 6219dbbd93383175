import { Code, ConnectError } from "@connectrpc/connect";
import fc from "fast-check";
import { BufferingClient } from "../../../client/src/buffering-client.js";
import type { StatsEvent } from "../../../client/src/event.js";
import { FakeClock } from "../../support/fake-clock.js";
import { FakeHost } from "../../support/fake-host.js";
import {
  badRequest,
  busy,
  denied,
  type FakeCall,
  FakePusher,
  invalid,
  noRoom,
} from "../../support/fake-pusher.js";

const ERRORS = [
  new ConnectError("down", Code.Unavailable),
  new ConnectError("late", Code.DeadlineExceeded),
  new ConnectError("who?", Code.Unauthenticated),
  new TypeError("fetch failed"),
  busy(Code.ResourceExhausted, 3_000),
  new ConnectError("too long", Code.ResourceExhausted),
];

type Step =
  | { readonly do: "push"; readonly count: number }
  | { readonly do: "advance"; readonly ms: number }
  /** Answers the nth call; the fates are those of its events, over and over. */
  | { readonly do: "answer"; readonly nth: number; readonly fates: readonly ("ok" | "bad" | "full")[] }
  | { readonly do: "fail"; readonly nth: number; readonly error: number; readonly isRecorded: boolean }
  | { readonly do: "tooMany"; readonly nth: number }
  | { readonly do: "deny"; readonly nth: number }
  | { readonly do: "flush" }
  /** The page is hidden. */
  | { readonly do: "leave" };

const steps = fc.array(
  fc.oneof(
    fc.record({ do: fc.constant("push" as const), count: fc.integer({ min: 1, max: 12 }) }),
    fc.record({ do: fc.constant("advance" as const), ms: fc.integer({ min: 1, max: 5_000 }) }),
    fc.record({
      do: fc.constant("answer" as const),
      nth: fc.nat(3),
      fates: fc.array(fc.constantFrom("ok" as const, "ok" as const, "bad" as const, "full" as const), {
        minLength: 1,
        maxLength: 5,
      }),
    }),
    fc.record({
      do: fc.constant("fail" as const),
      nth: fc.nat(3),
      error: fc.nat(ERRORS.length - 1),
      isRecorded: fc.boolean(),
    }),
    fc.record({ do: fc.constant("tooMany" as const), nth: fc.nat(3) }),
    fc.record({ do: fc.constant("deny" as const), nth: fc.nat(3) }),
    fc.constant({ do: "flush" as const }),
    fc.constant({ do: "leave" as const }),
  ),
  { maxLength: 60 },
);

/** A service that counts an id once, as the table does, and a client with its callers. */
class Model {
  readonly clock = new FakeClock();
  readonly pusher = new FakePusher();
  readonly host = new FakeHost();
  readonly recorded = new Map<string, number>();
  readonly acknowledged: StatsEvent[] = [];
  readonly rejected: StatsEvent[] = [];
  readonly taken: StatsEvent[] = [];
  flushes = 0;
  readonly client: BufferingClient;

  constructor(random: () => number) {
    this.client = new BufferingClient(
      { pusher: this.pusher, clock: this.clock, host: this.host, random },
      {
        batchEvents: 5,
        maxEvents: 20,
        onAcknowledged: (events) => this.acknowledged.push(...events),
        onRejected: ({ event }) => this.rejected.push(event),
      },
    );
  }

  async run(step: Step): Promise<void> {
    const nth = "nth" in step ? this.pusher.calls[step.nth] : undefined;
    if (step.do === "push") {
      this.#push(step.count);
    } else if (step.do === "advance") {
      await this.clock.advance(step.ms);
    } else if (step.do === "leave") {
      this.host.leave();
    } else if (step.do === "flush") {
      const through = [...this.taken];
      void this.client.flush({ timeoutMs: 2 ** 30 }).then(
        () => {
          this.flushes += 1;
          const settled = new Set([...this.acknowledged, ...this.rejected]);
          expect(through.every((event) => settled.has(event))).toBe(true);
        },
        () => undefined,
      );
    } else if (nth !== undefined) {
      this.#end(nth, step);
    }
    await this.clock.settle();
  }

  /** The books balance, and the bounds hold. */
  check(): void {
    const { pushed, acknowledged, rejected, buffered } = this.client.counters;
    expect(pushed).toBe(acknowledged + rejected + buffered);
    expect(buffered).toBeLessThanOrEqual(20);
    expect([pushed, acknowledged, rejected]).toEqual([
      this.taken.length,
      this.acknowledged.length,
      this.rejected.length,
    ]);
    expect(this.pusher.calls.filter(({ keepalive }) => !keepalive).length).toBeLessThanOrEqual(2);
    expect(this.host.watched.size).toBe(buffered === 0 ? 0 : 1);
  }

  #push(count: number): void {
    for (let i = 0; i < count; i++) {
      const event = { property: "news", section: 1, item: this.taken.length + 1 };
      if (this.client.push(event)) {
        this.taken.push(event);
      }
    }
  }

  #end(call: FakeCall, step: Step): void {
    if (step.do === "answer") {
      const fates = call.items.map((_, index) => step.fates[index % step.fates.length]);
      this.#record(call, fates);
      call.answer(
        fates.flatMap((fate, index) => {
          return fate === "bad" ? [invalid(index)] : fate === "full" ? [noRoom(index, 1_000)] : [];
        }),
      );
    } else if (step.do === "fail") {
      if (step.isRecorded) {
        // The answer was lost, not the request.
        this.#record(call);
      }
      call.fail(ERRORS[step.error]);
    } else if (step.do === "deny") {
      call.fail(denied("events[0].property"));
    } else if (call.items.length > 1) {
      call.fail(badRequest("events"));
    }
  }

  #record(call: FakeCall, fates: readonly unknown[] = []): void {
    call.request.events.forEach(({ eventId, item }, index) => {
      if ((fates[index] ?? "ok") === "ok") {
        this.recorded.set(eventId, item);
      }
    });
  }
}

test("whatever happens, each event is recorded once or rejected, and the books balance at each step", async () => {
  await fc.assert(
    fc.asyncProperty(
      steps,
      fc.array(fc.double({ min: 0, max: 0.99 }), { minLength: 1 }),
      async (run, jitter) => {
        let draws = 0;
        const model = new Model(() => jitter[draws++ % jitter.length] ?? 0);
        for (const step of run) {
          await model.run(step);
          model.check();
        }
        // The service recovers.
        const closed = model.client.close({ timeoutMs: 2 ** 30 });
        while (model.client.counters.buffered > 0) {
          await model.run({ do: "answer", nth: 0, fates: ["ok"] });
          await model.clock.advance(1_000);
          model.check();
        }
        expect(await closed).toEqual({ undelivered: 0 });
        // What was acknowledged is recorded, in one row. What was rejected may be, by a call whose answer was lost.
        const items = [...model.recorded.values()];
        expect(new Set(items).size).toBe(items.length);
        const recorded = new Set(items);
        expect(model.acknowledged.every(({ item }) => recorded.has(item))).toBe(true);
        expect(model.acknowledged.length + model.rejected.length).toBe(model.taken.length);
        expect(model.clock.pendingTimers).toBe(0);
      },
    ),
    { numRuns: 150 },
  );
});
