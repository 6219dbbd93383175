import { EventEmitter } from "node:events";
import { type CallOutput, LaneCall } from "../../../../src/rpc/fast-lane/fast-lane.js";
import { FakeClock } from "../../../support/fake-clock.js";

const PEER = Uint8Array.of(1);

function makeCall(timeoutMs?: number) {
  const clock = new FakeClock();
  const output = Object.assign(new EventEmitter(), { destroyed: false });
  const call = new LaneCall(PEER, {}, output as unknown as CallOutput, timeoutMs, clock);
  let abandoned = 0;
  const wait = () => call.onAbandoned(() => (abandoned += 1));
  return { call, clock, output, wait, abandoned: () => abandoned };
}

test("a call whose handler does not wait has neither timer nor listener", () => {
  const { clock, output } = makeCall(1000);
  expect(clock.pendingTimers).toBe(0);
  expect(output.listenerCount("close")).toBe(0);
});

test("the time runs from the start of the call, not from the start of the wait", async () => {
  const { clock, wait, abandoned } = makeCall(1000);
  await clock.advance(600);
  wait();
  await clock.advance(399);
  expect(abandoned()).toBe(0);
  await clock.advance(1);
  expect(abandoned()).toBe(1);
});

test.each([0, 500])("a wait that starts when the time is over (%d ms) is told so at once", async (ms) => {
  const { clock, wait, abandoned } = makeCall(ms);
  await clock.advance(ms);
  wait();
  expect(abandoned()).toBe(1);
});

test("a wait is told that the caller has left, once, and the timer goes", async () => {
  const { clock, output, wait, abandoned } = makeCall(1000);
  wait();
  output.emit("close");
  expect(clock.pendingTimers).toBe(0);
  output.emit("close");
  expect(abandoned()).toBe(1);
});

test("a wait that starts when the caller has left is told so at once", () => {
  const { output, wait, abandoned } = makeCall(1000);
  output.destroyed = true;
  wait();
  expect(abandoned()).toBe(1);
});

test("an ended call keeps no timer, and its handler is told nothing any more", () => {
  const { call, clock, output, wait, abandoned } = makeCall(1000);
  wait();
  call.end();
  expect(clock.pendingTimers).toBe(0);
  output.emit("close");
  expect(abandoned()).toBe(0);
});
