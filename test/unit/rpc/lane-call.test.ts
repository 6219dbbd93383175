import { EventEmitter } from "node:events";
import { Code, ConnectError } from "@connectrpc/connect";
import { type CallOutput, LaneCall } from "../../../src/rpc/fast-lane/lane-call.js";
import { FakeClock } from "../../support/fake-clock.js";

const PEER = Uint8Array.of(1);

function makeCall(timeoutMs?: number) {
  const clock = new FakeClock();
  const output = Object.assign(new EventEmitter(), { destroyed: false });
  const call = new LaneCall(PEER, {}, output as unknown as CallOutput, timeoutMs, clock);
  return { call, clock, output };
}

function codeOf(signal: AbortSignal): Code {
  return ConnectError.from(signal.reason).code;
}

test("a call that nobody asks for its signal has neither timer nor listener", () => {
  const { clock, output } = makeCall(1000);
  expect(clock.pendingTimers).toBe(0);
  expect(output.listenerCount("close")).toBe(0);
});

test("the signal is one and the same", () => {
  const { call } = makeCall();
  expect(call.signal()).toBe(call.signal());
});

test("the time runs from the start of the call, not from the first look at the signal", async () => {
  const { call, clock } = makeCall(1000);
  await clock.advance(600);
  const signal = call.signal();
  await clock.advance(399);
  expect(signal.aborted).toBe(false);
  await clock.advance(1);
  expect(codeOf(signal)).toBe(Code.DeadlineExceeded);
});

test.each([0, 500])(
  "the signal has aborted when the time was over before it was asked for (%d ms)",
  async (ms) => {
    const { call, clock } = makeCall(ms);
    await clock.advance(ms);
    expect(codeOf(call.signal())).toBe(Code.DeadlineExceeded);
  },
);

test("the signal aborts when the caller leaves, and the timer goes", () => {
  const { call, clock, output } = makeCall(1000);
  const signal = call.signal();
  output.emit("close");
  expect(codeOf(signal)).toBe(Code.Canceled);
  expect(clock.pendingTimers).toBe(0);
});

test("the signal has aborted when the caller has left before it was asked for", () => {
  const { call, output } = makeCall(1000);
  output.destroyed = true;
  expect(codeOf(call.signal())).toBe(Code.Canceled);
});

test("an ended call leaves nothing behind, and does not abort", async () => {
  const { call, clock, output } = makeCall(1000);
  const signal = call.signal();
  call.end();
  expect(clock.pendingTimers).toBe(0);
  expect(output.listenerCount("close")).toBe(0);
  expect(signal.aborted).toBe(false);
});
