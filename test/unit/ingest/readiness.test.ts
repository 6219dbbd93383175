import { pino } from "pino";
import { Readiness } from "../../../src/ingest/readiness.js";
import { Health } from "../../../src/server/health.js";
import { FakeClock } from "../../support/fake-clock.js";

let clock: FakeClock;
let health: Health;
const queue = { bytes: 0, maxBytes: 100 };
const spool = { bytes: 0, maxBytes: 900, isWritable: true };
let fault: { faultClass: string; message: string } | undefined;
let spoolFault: typeof fault;
const flusher = { sinkFault: () => fault };
const replay = { sinkFault: () => spoolFault };

beforeEach(() => {
  clock = new FakeClock();
  health = new Health();
  queue.bytes = 0;
  fault = undefined;
  spoolFault = undefined;
  Object.assign(spool, { bytes: 0, isWritable: true });
});

function makeReadiness(options: { withSpool: boolean }): Readiness {
  const logger = pino({ level: "silent" });
  return new Readiness({
    queue,
    buffer: options.withSpool ? spool : undefined,
    flusher,
    replay: options.withSpool ? replay : undefined,
    health,
    clock,
    logger,
  });
}

/** Whether calls are welcome, a second later. */
async function isReady(): Promise<boolean> {
  await clock.advance(1_000);
  return health.readiness().ok;
}

describe("Readiness", () => {
  it("stays while PostgreSQL is down, ends while its schema needs a repair, and is back after that", async () => {
    const readiness = makeReadiness({ withSpool: true });
    readiness.start();
    fault = { faultClass: "transient", message: "connection refused" };
    expect(await isReady()).toBe(true);
    fault = { faultClass: "schema", message: 'relation "incoming" does not exist' };
    expect(await isReady()).toBe(false);
    expect(health.readiness()).toMatchObject({ reason: expect.stringContaining('relation "incoming"') });
    fault = undefined;
    expect(await isReady()).toBe(true);
    readiness.close();
  });

  it("ends while only what is in the spool meets a schema that needs a repair", async () => {
    const readiness = makeReadiness({ withSpool: true });
    readiness.start();
    spoolFault = { faultClass: "transient", message: "connection refused" };
    expect(await isReady()).toBe(true);
    spoolFault = { faultClass: "schema", message: 'relation "incoming" does not exist' };
    expect(await isReady()).toBe(false);
    expect(health.readiness()).toMatchObject({ reason: expect.stringContaining('relation "incoming"') });
    spoolFault = undefined;
    expect(await isReady()).toBe(true);
    readiness.close();
  });

  it("is given from the start when there is room", () => {
    const readiness = makeReadiness({ withSpool: true });
    expect(health.readiness().ok).toBe(false);
    readiness.start();
    expect(health.readiness().ok).toBe(true);
    readiness.close();
  });

  it("is not given at the start when an earlier run left no room", () => {
    spool.bytes = 2_000;
    const readiness = makeReadiness({ withSpool: true });
    readiness.start();
    expect(health.readiness()).toMatchObject({ ok: false, reason: expect.stringContaining("room") });
    readiness.close();
  });

  it("stays while memory is full and the spool has room", async () => {
    const readiness = makeReadiness({ withSpool: true });
    readiness.start();
    queue.bytes = 100;
    spool.bytes = 799;
    expect(await isReady()).toBe(true);
    readiness.close();
  });

  it("ends at 90 % of all room and is back at 70 %", async () => {
    const readiness = makeReadiness({ withSpool: true });
    readiness.start();
    for (const [bytes, expected] of [
      [899, true],
      [900, false],
      [899, false],
      [701, false],
      [700, true],
      [899, true],
      [900, false],
    ] as const) {
      queue.bytes = Math.min(bytes, 100);
      spool.bytes = bytes - queue.bytes;
      expect([bytes, await isReady()]).toEqual([bytes, expected]);
    }
    readiness.close();
  });

  it("is a matter of memory alone when there is no spool", async () => {
    const readiness = makeReadiness({ withSpool: false });
    readiness.start();
    queue.bytes = 90;
    expect(await isReady()).toBe(false);
    queue.bytes = 70;
    expect(await isReady()).toBe(true);
    readiness.close();
  });

  it("is a matter of memory alone while the spool cannot be written", async () => {
    const readiness = makeReadiness({ withSpool: true });
    readiness.start();
    queue.bytes = 90;
    expect(await isReady()).toBe(true);
    spool.isWritable = false;
    expect(await isReady()).toBe(false);
    spool.isWritable = true;
    expect(await isReady()).toBe(true);
    readiness.close();
  });

  it("leaves the last word to whoever closes it", async () => {
    const readiness = makeReadiness({ withSpool: true });
    readiness.start();
    queue.bytes = 100;
    spool.bytes = 900;
    expect(await isReady()).toBe(false);
    readiness.close();
    health.setNotServing("stopping");
    queue.bytes = 0;
    spool.bytes = 0;
    await clock.advance(10_000);
    expect(health.readiness()).toEqual({ ok: false, reason: "stopping" });
    expect(clock.pendingTimers).toBe(0);
    readiness.start();
    expect(health.readiness().ok).toBe(false);
  });
});
