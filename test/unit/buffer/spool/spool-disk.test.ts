import { type Logger, pino } from "pino";
import { DiskDeadline, DiskHangsError } from "../../../../src/buffer/spool/spool-disk.js";
import { FakeClock } from "../../../support/fake-clock.js";
import { watch } from "../../../support/flusher-rig.js";

let clock: FakeClock;
let log: string[];
let disk: DiskDeadline;

beforeEach(() => {
  clock = new FakeClock();
  log = [];
  const keep = (line: string) => void log.push((JSON.parse(line) as { msg: string }).msg);
  const logger: Logger = pino({}, { write: keep });
  disk = new DiskDeadline({ clock, logger });
});

/** A call that is answered when the test says so. */
function hangingCall(): { readonly call: () => Promise<string>; readonly answer: () => void } {
  let answer = () => {};
  const answered = new Promise<string>((resolve) => {
    answer = () => resolve("data");
  });
  return { call: () => answered, answer: () => answer() };
}

describe("DiskDeadline", () => {
  it("gives what a call gives, or its error, and leaves no timer behind", async () => {
    expect(await disk.run(async () => "data")).toBe("data");
    const error = new Error("EIO");
    await expect(disk.run(() => Promise.reject(error))).rejects.toBe(error);
    expect(clock.pendingTimers).toBe(0);
    expect(disk.hangs).toBe(false);
    expect(log).toEqual([]);
  });

  it("waits ten seconds for an answer", async () => {
    const slow = hangingCall();
    const result = watch(disk.run(slow.call));
    await clock.advance(9_999);
    expect([result.state, disk.hangs]).toEqual(["pending", false]);
    slow.answer();
    await clock.settle();
    expect(result.state).toBe("resolved");
  });

  it("then gives the call up, and refuses others at once until it comes back", async () => {
    const hung = hangingCall();
    const result = watch(disk.run(hung.call));
    await clock.advance(10_000);
    expect(result).toEqual({ state: "rejected", error: expect.any(DiskHangsError) });
    expect(disk.hangs).toBe(true);
    let isCalled = false;
    const other = disk.run(async () => {
      isCalled = true;
    });
    await expect(other).rejects.toBeInstanceOf(DiskHangsError);
    expect(isCalled).toBe(false);

    hung.answer();
    await clock.settle();
    expect(disk.hangs).toBe(false);
    expect(await disk.run(async () => "data")).toBe("data");
  });

  it("says once that the disk hangs, however many calls do, and once that it is back", async () => {
    const calls = [hangingCall(), hangingCall()];
    for (const { call } of calls) {
      watch(disk.run(call));
      await clock.advance(5_000);
    }
    await clock.advance(60_000);
    expect(log).toEqual(["spool: the disk does not answer; it is left alone until it does"]);
    calls[0]?.answer();
    await clock.settle();
    expect(disk.hangs).toBe(true);
    calls[1]?.answer();
    await clock.settle();
    expect(log.slice(1)).toEqual(["spool: the disk answers again"]);
  });
});
