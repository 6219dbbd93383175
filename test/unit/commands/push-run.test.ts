import { Code, ConnectError } from "@connectrpc/connect";
import { BufferingClient } from "../../../client/src/buffering-client.js";
import type { EventLine } from "../../../src/commands/push/event-lines.js";
import { EVENTS_MAX, PushRun } from "../../../src/commands/push/push-run.js";
import { FakeClock } from "../../support/fake-clock.js";
import { busy, denied, type FakeCall, FakePusher, invalid, noRoom } from "../../support/fake-pusher.js";

function setUp({ patienceMs = 30_000, diagnosis = { message: "down", canPass: true } } = {}) {
  const clock = new FakeClock();
  const pusher = new FakePusher();
  const faults: [number, string][] = [];
  const notices: string[] = [];
  const run = new PushRun({
    createClient: (options) => new BufferingClient({ pusher, clock, random: () => 0.999_999 }, options),
    clock,
    patienceMs,
    diagnose: () => Promise.resolve(diagnosis),
    onWaiting: (reason) => notices.push(reason),
    onFault: (line, what) => faults.push([line, what]),
  });
  return { clock, pusher, run, faults, notices };
}

function event(number: number): EventLine {
  return { number, event: { property: "news", section: 1, item: number } };
}

/** Lines `1` to `count`, then `end`. */
async function* lines(count: number, end?: Promise<unknown>, onLine: () => void = () => undefined) {
  for (let number = 1; number <= count; number++) {
    onLine();
    yield event(number);
  }
  await end;
}

test("reads no further ahead than its buffer, while the service does not answer", async () => {
  const { clock, pusher, run } = setUp();
  let read = 0;
  const result = run.push(lines(3 * EVENTS_MAX, undefined, () => read++));
  while (pusher.calls.length === 0 || read < EVENTS_MAX) {
    await clock.settle();
  }
  await clock.settle();
  expect(read).toBe(EVENTS_MAX + 1);
  while (run.counts.acknowledged < 3 * EVENTS_MAX) {
    pusher.calls[0]?.answer();
    await clock.settle();
  }
  expect(await result).toMatchObject({ acknowledged: 3 * EVENTS_MAX, settledThrough: 3 * EVENTS_MAX });
});

test("names the line of what is rejected and of what is no event", async () => {
  const { clock, pusher, run, faults } = setUp();
  async function* input(): AsyncGenerator<EventLine> {
    yield { number: 1, fault: "is not JSON" };
    yield event(3);
    yield event(4);
    yield { number: 5, event: { property: "news", section: 0, item: 1 } };
  }
  const result = run.push(input());
  await clock.settle();
  pusher.calls[0]?.answer([invalid(1)]);
  expect(await result).toEqual({
    acknowledged: 1,
    rejected: 2,
    badLines: 1,
    undelivered: 0,
    settledThrough: 5,
    stop: undefined,
  });
  expect(faults).toEqual([
    [1, "is not JSON"],
    [5, expect.stringContaining("is rejected: section must be")],
    [4, "is rejected: property is not known"],
  ]);
});

test("names a line whose property the token does not allow, also when it is alone in its batch", async () => {
  const { clock, pusher, run, faults } = setUp();
  const result = run.push(lines(1));
  await clock.settle();
  pusher.calls[0]?.fail(denied("events[0].property"));
  expect(await result).toMatchObject({ rejected: 1, settledThrough: 1, stop: undefined });
  expect(faults).toEqual([[1, "is rejected: property is wrong"]]);
});

test("sends what was read when a signal comes, and tells where to go on", async () => {
  const { clock, pusher, run } = setUp();
  const result = run.push(lines(7, run.stopped));
  await clock.settle();
  run.stop({ kind: "signal", signal: "SIGINT" });
  await clock.settle();
  expect(pusher.calls[0]?.items).toEqual([1, 2, 3, 4, 5, 6, 7]);
  pusher.calls[0]?.answer();
  expect(await result).toMatchObject({ acknowledged: 7, undelivered: 0, settledThrough: 7 });
});

test("counts only a beginning without a gap as settled", async () => {
  const { clock, pusher, run } = setUp();
  const result = run.push(lines(7, run.stopped));
  await clock.advance(200);
  pusher.calls[0]?.answer([noRoom(3, 60_000)]);
  await clock.settle();
  run.stop({ kind: "signal", signal: "SIGINT" });
  await clock.advance(10_000);
  expect(await result).toMatchObject({ acknowledged: 6, undelivered: 1, settledThrough: 3 });
});

test("gives up when the service has been out of reach for too long", async () => {
  const { clock, pusher, run } = setUp();
  let failing = true;
  const result = run.push(lines(2, run.stopped)).finally(() => {
    failing = false;
  });
  while (failing) {
    pusher.calls[0]?.fail(new ConnectError("down", Code.Unavailable));
    await clock.advance(100);
  }
  expect(clock.elapsed()).toBeGreaterThanOrEqual(30_000);
  expect(await result).toMatchObject({ undelivered: 2, settledThrough: 0, stop: { kind: "unreachable" } });
});

test("gives up in time, however much later the next call may be made", async () => {
  const { clock, pusher, run } = setUp({ patienceMs: 3_000 });
  const result = run.push(lines(1));
  await clock.settle();
  pusher.calls[0]?.fail(busy(Code.ResourceExhausted, 25_000));
  await clock.advance(2_999);
  expect(clock.pendingTimers).toBeGreaterThan(0);
  await clock.advance(1);
  expect(clock.pendingTimers).toBe(0);
  expect(await result).toMatchObject({ undelivered: 1, stop: { kind: "unreachable" } });
});

test("leaves no timer behind when all have their answer after a failure", async () => {
  const { clock, pusher, run } = setUp();
  const result = run.push(lines(1));
  await clock.settle();
  pusher.calls[0]?.fail(new ConnectError("down", Code.Unavailable));
  await clock.advance(100);
  pusher.calls[0]?.answer();
  expect(await result).toMatchObject({ acknowledged: 1, stop: undefined });
  expect(clock.pendingTimers).toBe(0);
});

test("is patient from the first event that has no answer on, not from the last answer", async () => {
  const { clock, pusher, run } = setUp();
  const late = clock.elapsed() + 60_000;
  async function* input(): AsyncGenerator<EventLine> {
    yield* lines(1);
    await new Promise<void>((resolve) => void clock.schedule(late, resolve));
    yield event(2);
  }
  const result = run.push(input());
  await clock.advance(200);
  pusher.calls[0]?.answer();
  await clock.advance(60_000);
  pusher.calls[0]?.fail(new ConnectError("down", Code.Unavailable));
  await clock.advance(100);
  pusher.calls[0]?.answer();
  expect(await result).toMatchObject({ acknowledged: 2, stop: undefined });
});

test("takes a rejection for an answer", async () => {
  const { clock, pusher, run } = setUp();
  const result = run.push(lines(2));
  await clock.settle();
  await clock.advance(29_000);
  pusher.calls[0]?.answer([invalid(0), noRoom(1, 10_000)]);
  await clock.advance(10_000);
  pusher.calls[0]?.fail(new ConnectError("down", Code.Unavailable));
  await clock.advance(200);
  pusher.calls[0]?.answer();
  expect(await result).toMatchObject({ acknowledged: 1, rejected: 1, stop: undefined });
});

test("gives a call no more time than its patience", async () => {
  const { clock, pusher, run } = setUp({ patienceMs: 1_000 });
  const result = run.push(lines(1));
  await clock.settle();
  expect(pusher.calls[0]?.timeoutMs).toBe(1_000);
  pusher.calls[0]?.answer();
  await result;
  const patient = setUp();
  const other = patient.run.push(lines(1));
  await patient.clock.settle();
  expect(patient.pusher.calls[0]?.timeoutMs).toBe(10_000);
  patient.pusher.calls[0]?.answer();
  await other;
});

test("gives up at once when the service refuses the caller", async () => {
  const { clock, pusher, run } = setUp();
  const result = run.push(lines(2));
  await clock.settle();
  pusher.calls[0]?.fail(new ConnectError("who?", Code.Unauthenticated));
  await clock.advance(1);
  expect(await result).toMatchObject({ undelivered: 2, stop: { kind: "refused" } });
});

test("tells once why there is no answer, as soon as a call fails", async () => {
  const { clock, pusher, run, notices } = setUp();
  const result = run.push(lines(1));
  await clock.settle();
  for (let tries = 0; tries < 3; tries++) {
    pusher.calls[0]?.fail(new ConnectError("down", Code.Unavailable));
    await clock.advance(1_000);
  }
  expect(notices).toEqual(["down"]);
  pusher.calls[0]?.answer();
  expect(await result).toMatchObject({ acknowledged: 1, stop: undefined });
});

test("tells of a service that keeps silent", async () => {
  const { clock, pusher, run, notices } = setUp();
  const result = run.push(lines(1));
  await clock.advance(1_999);
  expect(notices).toEqual([]);
  await clock.advance(1);
  expect(notices).toEqual(["no answer for 2 s"]);
  pusher.calls[0]?.answer();
  await result;
});

test("does not wait for what waiting cannot cure", async () => {
  const { clock, pusher, run, notices } = setUp({ diagnosis: { message: "wrong port", canPass: false } });
  const result = run.push(lines(1));
  await clock.settle();
  pusher.calls[0]?.fail(new ConnectError("HTTP 404", Code.Unimplemented));
  await clock.advance(1);
  expect(await result).toMatchObject({ undelivered: 1, stop: { kind: "unreachable", reason: "wrong port" } });
  expect(notices).toEqual([]);
});

test.each([
  ["calls fail", (call: FakeCall | undefined) => call?.fail(new ConnectError("down", Code.Unavailable))],
  ["the service keeps silent", () => undefined],
])("ends at once at a signal while %s", async (_, answer) => {
  const { clock, pusher, run } = setUp();
  const result = run.push(lines(1, run.stopped));
  await clock.advance(2_000);
  answer(pusher.calls[0]);
  await clock.settle();
  run.stop({ kind: "signal", signal: "SIGINT" });
  await clock.advance(1);
  expect(await result).toMatchObject({ undelivered: 1, stop: { kind: "signal" } });
  expect(clock.pendingTimers).toBe(0);
});
