import { Code, ConnectError } from "@connectrpc/connect";
import { RetryInfoSchema } from "../../../gen/google/rpc/error_details_pb.js";
import { AckMode, StatsService } from "../../../gen/stats/v1/stats_pb.js";
import { limitWaiting } from "../../../src/rpc/limit-waiting.js";
import type { CallContext, UnaryHandler } from "../../../src/rpc/unary-method.js";

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
