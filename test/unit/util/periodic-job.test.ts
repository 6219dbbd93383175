import { PeriodicJob } from "../../../src/util/periodic-job.js";
import { FakeClock } from "../../support/fake-clock.js";

function rig(pass: (signal: AbortSignal) => Promise<number>) {
  const clock = new FakeClock();
  const failures: unknown[] = [];
  let passes = 0;
  const job = new PeriodicJob({
    clock,
    firstMs: 1_000,
    retryMs: 100,
    pass: (signal) => {
      passes += 1;
      return pass(signal);
    },
    onFailure: (error) => failures.push(error),
  });
  return { clock, job, failures, passes: () => passes };
}

describe("PeriodicJob", () => {
  it("makes the first pass after the first pause, and each other when the last one said", async () => {
    const { clock, job, passes } = rig(async () => 5_000);
    job.start();
    await clock.advance(999);
    expect(passes()).toBe(0);
    await clock.advance(1);
    expect(passes()).toBe(1);
    await clock.advance(4_999);
    expect(passes()).toBe(1);
    await clock.advance(1);
    expect(passes()).toBe(2);
    await job.close();
  });

  it("tells why a pass failed, and tries again after the retry pause", async () => {
    const fault = new Error("no database");
    const { clock, job, failures, passes } = rig(() => Promise.reject(fault));
    await job.run();
    expect(failures).toEqual([fault]);
    await clock.advance(100);
    expect([failures.length, passes()]).toEqual([2, 2]);
    await job.close();
  });

  it("never has two passes in progress, whoever asks for one", async () => {
    let inProgress = 0;
    let most = 0;
    const { job, passes } = rig(async () => {
      inProgress += 1;
      most = Math.max(most, inProgress);
      await new Promise(setImmediate);
      inProgress -= 1;
      return 1_000;
    });
    await Promise.all([job.run(), job.run(), job.run()]);
    expect([most, passes()]).toEqual([1, 3]);
    await job.close();
  });

  it("ends the pass in progress when it is closed, tells of no failure, and makes no other", async () => {
    const { clock, job, failures, passes } = rig(
      (signal) =>
        new Promise((_, reject) => signal.addEventListener("abort", () => reject(signal.reason as Error))),
    );
    const running = job.run();
    await new Promise(setImmediate);
    await job.close();
    await running;
    await job.run();
    await clock.advance(60_000);
    expect([passes(), failures]).toEqual([1, []]);
  });

  it("can be closed before it was started, and twice", async () => {
    const { clock, job, passes } = rig(async () => 1);
    await job.close();
    await job.close();
    job.start();
    await clock.advance(10_000);
    expect(passes()).toBe(0);
  });
});
