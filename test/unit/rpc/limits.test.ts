import { Code, ConnectError } from "@connectrpc/connect";
import { RetryInfoSchema } from "../../../gen/google/rpc/error_details_pb.js";
import { AckMode, StatsService } from "../../../gen/stats/v1/stats_pb.js";
import { BodyLimits, CallSlots, limitWaiting } from "../../../src/rpc/limits.js";
import type { CallContext, UnaryHandler } from "../../../src/rpc/unary-method.js";

const KIB = 1024;

describe("BodyLimits", () => {
  it("lets bodies grow until there is no room, and again when others are gone", () => {
    const limits = new BodyLimits({ requestMaxBytes: 64 * KIB, bodiesMaxBytes: 100 * KIB });
    expect(limits.tryGrow(0, 60 * KIB)).toBe(true);
    expect(limits.tryGrow(0, 40 * KIB)).toBe(true);
    expect(limits.tryGrow(40 * KIB, 41 * KIB)).toBe(false);
    expect(limits.usedBytes).toBe(100 * KIB);
    limits.leave(60 * KIB);
    expect(limits.tryGrow(40 * KIB, 41 * KIB)).toBe(true);
    limits.leave(41 * KIB);
    expect(limits.usedBytes).toBe(0);
  });

  it("lets small bodies in even when there is no room", () => {
    const limits = new BodyLimits({ requestMaxBytes: KIB, bodiesMaxBytes: 0 });
    expect(limits.tryGrow(0, 4 * KIB)).toBe(true);
    expect(limits.tryGrow(4 * KIB, 4 * KIB + 1)).toBe(false);
    limits.leave(4 * KIB);
    expect(limits.usedBytes).toBe(0);
  });
});

/** How many slots the caller gets before it is refused. */
function takeAll(slots: CallSlots, caller: string): (() => void)[] {
  const taken: (() => void)[] = [];
  for (let leave = slots.take(caller); leave !== undefined; leave = slots.take(caller)) {
    taken.push(leave);
  }
  return taken;
}

test("a caller that takes all it can leaves as many as it has", () => {
  const slots = new CallSlots(8);
  expect(takeAll(slots, "a")).toHaveLength(4);
  expect(takeAll(slots, "b")).toHaveLength(2);
});

test("whoever has none gets one, as long as one is free", () => {
  const slots = new CallSlots(3);
  expect(["a", "b", "c", "d"].map((caller) => slots.take(caller) !== undefined)).toEqual([
    true,
    true,
    true,
    false,
  ]);
});

test("a slot that is left is free again", () => {
  const slots = new CallSlots(4);
  const [leave] = takeAll(slots, "a");
  expect(slots.take("a")).toBeUndefined();
  leave?.();
  expect(slots.take("a")).toBeDefined();
});

type Handler = UnaryHandler<typeof StatsService.method.push>;

const CALL = {} as CallContext;

/** A handler that waits when it is asked to, behind the limit; `outcomes` end the waiting calls. */
function limited(maxWaiting: number) {
  const outcomes: { resolve: () => void; reject: (error: Error) => void }[] = [];
  let calls = 0;
  const handler: Handler = ({ ack }) => {
    calls += 1;
    return ack === AckMode.DURABLE
      ? new Promise((resolve, reject) => outcomes.push({ resolve: () => resolve({}), reject }))
      : {};
  };
  const around = limitWaiting(maxWaiting)(handler as never, StatsService.method.push);
  const call = (ack: AckMode) => around({ ack } as never, CALL);
  return { call, outcomes, calls: () => calls };
}

function refusal(call: () => unknown): ConnectError {
  try {
    call();
  } catch (error) {
    return ConnectError.from(error);
  }
  throw new Error("was not refused");
}

test("refuses one more call that would wait, with the time to come back, before the handler sees it", () => {
  const { call, calls } = limited(2);
  void call(AckMode.DURABLE);
  void call(AckMode.DURABLE);
  const error = refusal(() => call(AckMode.DURABLE));
  expect(error.code).toBe(Code.ResourceExhausted);
  expect(error.findDetails(RetryInfoSchema)).toHaveLength(1);
  expect(calls()).toBe(2);
});

test("lets calls that do not wait through, as plain values", () => {
  const { call } = limited(1);
  void call(AckMode.DURABLE);
  expect(call(AckMode.QUEUED)).toEqual({});
  expect(call(AckMode.UNSPECIFIED)).toEqual({});
});

test("counts a call until it is answered, well or not", async () => {
  const { call, outcomes } = limited(1);
  for (const outcome of ["resolve", "reject"] as const) {
    const answer = call(AckMode.DURABLE);
    refusal(() => call(AckMode.DURABLE));
    outcomes.at(-1)?.[outcome](new Error("by the test"));
    await Promise.allSettled([answer]);
    void call(AckMode.DURABLE);
    outcomes.at(-1)?.resolve();
    await Promise.resolve();
  }
});

test("gives the handler's own answer back", async () => {
  const answer = Promise.resolve({});
  const handler: Handler = () => answer;
  const around = limitWaiting(1)(handler as never, StatsService.method.push);
  expect(around({ ack: AckMode.DURABLE } as never, CALL)).toBe(answer);
});
