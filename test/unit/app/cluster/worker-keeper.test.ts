import { pino } from "pino";
import type { ToPrimary, ToWorker } from "../../../../src/app/cluster/messages.js";
import { WorkerKeeper } from "../../../../src/app/cluster/worker-keeper.js";
import type { WorkerEvents } from "../../../../src/app/cluster/worker-process.js";
import type { MetricsReading } from "../../../../src/telemetry/metrics-route.js";
import type { ServiceStatus } from "../../../../src/telemetry/service-status.js";
import { FakeClock } from "../../../support/fake-clock.js";

const ASSIGNMENT = { worker: 2, workers: 4, databaseUrl: "postgres://db/stats" };
const ADDRESS = { host: "127.0.0.1", port: 41234 };
const BOOKS = {
  accepted: 5,
  recovered: 0,
  inserted: 5,
  duplicates: 0,
  dead: 0,
  buffered: 0,
  forwarded: 0,
  setAside: 0,
  queued: 0,
  missing: 0,
  isBalanced: true,
};

/** A process that does what the test says. */
class FakeWorker {
  readonly received: ToWorker[] = [];
  readonly signals: string[] = [];
  readonly #events: WorkerEvents;

  constructor(events: WorkerEvents) {
    this.#events = events;
  }

  says(...messages: ToPrimary[]): void {
    for (const message of messages) {
      this.#events.onMessage(message);
    }
  }

  starts(): void {
    this.says({ kind: "hello" }, { kind: "ready", ...ADDRESS });
  }

  ends(status: number | null, how = `exit status ${status}`): void {
    this.#events.onEnd({ status, how });
  }

  saysWhatIsNotOurs(message: unknown): void {
    this.#events.onMessage(message);
  }
}

let clock: FakeClock;
let forked: FakeWorker[];
let log: string[];
let keeper: WorkerKeeper;

beforeEach(() => {
  clock = new FakeClock();
  forked = [];
  log = [];
  keeper = new WorkerKeeper({
    assignment: ASSIGNMENT,
    fork: (events) => {
      const worker = new FakeWorker(events);
      forked.push(worker);
      return {
        send: (message) => worker.received.push(message),
        signal: (signal) => worker.signals.push(signal),
      };
    },
    clock,
    random: () => 0.5,
    logger: pino({}, { write: (line: string) => void log.push((JSON.parse(line) as { msg: string }).msg) }),
  });
});

function latest(): FakeWorker {
  const worker = forked.at(-1);
  if (worker === undefined) {
    throw new Error("nothing was forked");
  }
  return worker;
}

async function startReady(): Promise<void> {
  const started = keeper.start();
  latest().starts();
  await started;
}

/** Kills the worker and lets enough time go by for the next to be forked. */
async function dieAndComeBack(): Promise<void> {
  const before = forked.length;
  latest().ends(null, "ended by SIGKILL");
  await clock.advance(30_000);
  expect(forked).toHaveLength(before + 1);
  latest().starts();
}

describe("the first start", () => {
  it("assigns the worker its part when it can hear, and tells where it listens", async () => {
    const started = keeper.start();
    expect(latest().received).toEqual([]);
    expect(keeper.notReadyReason()).toBe("starting");
    latest().starts();
    expect(latest().received).toEqual([{ kind: "start", assignment: ASSIGNMENT }]);
    expect(await started).toEqual(ADDRESS);
    expect(keeper.notReadyReason()).toBeUndefined();
  });

  it("fails with the worker's own line when it cannot start, and is not tried again", async () => {
    const started = keeper.start();
    latest().says({ kind: "hello" }, { kind: "failed", reason: "PORT: port 80 is in use" });
    latest().ends(1);
    await expect(started).rejects.toThrow(/^PORT: port 80 is in use$/);
    await clock.advance(60_000);
    expect(forked).toHaveLength(1);
    // It has promised nothing: no event can be missing.
    expect(await keeper.stop()).toMatchObject({ isSound: true });
  });

  it("fails with how the worker ended when it said nothing", async () => {
    const started = keeper.start();
    latest().ends(null, "ended by SIGKILL");
    await expect(started).rejects.toThrow("worker 2 ended before it was ready: ended by SIGKILL");
  });

  it("ends in order when it is stopped on the way, also before the worker can hear", async () => {
    const started = keeper.start();
    const stopped = keeper.stop();
    latest().says({ kind: "hello" });
    expect(latest().received.at(-1)).toEqual({ kind: "stop" });
    latest().ends(0);
    await expect(started).rejects.toThrow("told to stop");
    expect(await stopped).toEqual({ isSound: true, books: [] });
  });
});

it("is sound when a Ctrl-C ends a worker that was not ready yet, and it was to stop anyway", async () => {
  const started = keeper.start();
  const stopped = keeper.stop();
  latest().ends(null, "ended by SIGINT");
  await expect(started).rejects.toThrow("told to stop");
  expect(await stopped).toEqual({ isSound: true, books: [] });
});

describe("a worker that dies", () => {
  it("is forked again after a while that grows up to a bound", async () => {
    await startReady();
    const waits: number[] = [];
    for (let death = 1; death <= 9; death++) {
      const before = forked.length;
      latest().ends(null, "ended by SIGKILL");
      let waited = 0;
      while (forked.length === before) {
        await clock.advance(50);
        waited += 50;
      }
      waits.push(waited);
    }
    expect(waits).toEqual([250, 500, 1_000, 2_000, 4_000, 8_000, 15_000, 15_000, 15_000]);
  });

  it("takes events again when its successor is ready, and the run is not sound any more", async () => {
    await startReady();
    latest().ends(null, "ended by SIGKILL");
    expect(keeper.notReadyReason()).toContain("ended by SIGKILL");
    await clock.advance(500);
    latest().starts();
    expect(keeper.notReadyReason()).toBeUndefined();
    const stopped = keeper.stop();
    latest().says({ kind: "books", books: BOOKS });
    latest().ends(0);
    expect(await stopped).toEqual({ isSound: false, books: [BOOKS] });
  });

  it("is no fault while it is made good, and one when it happens three times in a row", async () => {
    await startReady();
    await dieAndComeBack();
    await dieAndComeBack();
    expect(keeper.fault()).toBeUndefined();
    await dieAndComeBack();
    expect(keeper.fault()).toBe("it keeps dying, 3 times in a row: ended by SIGKILL");
  });

  it("is forgiven after a minute in which it lived", async () => {
    await startReady();
    for (let death = 1; death <= 3; death++) {
      await dieAndComeBack();
    }
    await clock.advance(59_999);
    latest().says({ kind: "health", dead: null, unready: null });
    expect(keeper.fault()).toContain("it keeps dying");
    await clock.advance(1);
    expect(keeper.fault()).toBeUndefined();
    latest().ends(1);
    await clock.advance(500);
    latest().starts();
    expect(keeper.fault()).toBeUndefined();
  });

  it("is tried again when its successor cannot start, and the reason is told", async () => {
    await startReady();
    latest().ends(1);
    for (let attempt = 1; attempt <= 3; attempt++) {
      await clock.advance(30_000);
      latest().says({ kind: "hello" }, { kind: "failed", reason: "SPOOL_DIR: in use" });
      latest().ends(1);
    }
    expect(keeper.fault()).toContain("SPOOL_DIR: in use");
    await clock.advance(30_000);
    expect(forked).toHaveLength(5);
  });

  it("is not forked again when it was to stop meanwhile", async () => {
    await startReady();
    latest().ends(1);
    expect(await keeper.stop()).toEqual({ isSound: false, books: [] });
    await clock.advance(60_000);
    expect(forked).toHaveLength(1);
    expect(clock.pendingTimers).toBe(0);
  });
});

describe("the health of a worker", () => {
  beforeEach(startReady);

  it("is what it last said", () => {
    latest().says({ kind: "health", dead: "flusher: stuck", unready: "no room" });
    expect([keeper.fault(), keeper.notReadyReason()]).toEqual(["flusher: stuck", "no room"]);
    latest().says({ kind: "health", dead: null, unready: null });
    expect([keeper.fault(), keeper.notReadyReason()]).toEqual([undefined, undefined]);
  });

  it("is a fault when it says nothing for ten seconds", async () => {
    await clock.advance(9_999);
    expect(keeper.fault()).toBeUndefined();
    await clock.advance(1);
    expect(keeper.fault()).toBe("it has not been heard of for 10 s");
    latest().says({ kind: "health", dead: null, unready: null });
    expect(keeper.fault()).toBeUndefined();
  });

  it("is logged once when it says nothing for ten seconds, and when it is heard of again; it is not killed", async () => {
    await clock.advance(9_999);
    expect(log).toEqual([]);
    await clock.advance(60_000);
    expect(log).toEqual(["a worker hangs; it is let alone, and may come back"]);
    expect(latest().signals).toEqual([]);
    latest().says({ kind: "health", dead: null, unready: null });
    expect(log.slice(1)).toEqual(["the worker is heard of again"]);
  });

  it("is waited for no more when it has died", async () => {
    latest().ends(null, "ended by SIGKILL");
    expect(clock.pendingTimers).toBe(1);
    await keeper.stop();
    expect(clock.pendingTimers).toBe(0);
  });

  it.each([
    { type: "prom-client:getMetricsRes" },
    { kind: "health", dead: 1, unready: null },
    { kind: "ready", host: "127.0.0.1", port: "80" },
    "health",
    null,
  ])("is not changed by %j, which is none of our messages", (message) => {
    latest().saysWhatIsNotOurs(message);
    expect([keeper.fault(), keeper.notReadyReason()]).toEqual([undefined, undefined]);
  });
});

describe("stop", () => {
  it("lets the worker drain and gives its books", async () => {
    await startReady();
    const stopped = keeper.stop();
    expect(latest().received.at(-1)).toEqual({ kind: "stop" });
    latest().says({ kind: "books", books: BOOKS });
    latest().ends(0);
    expect(await stopped).toEqual({ isSound: true, books: [BOOKS] });
    expect(await keeper.stop()).toEqual({ isSound: true, books: [BOOKS] });
    expect(forked).toHaveLength(1);
  });

  it("is not sound when the worker's exit status is not 0", async () => {
    await startReady();
    const stopped = keeper.stop();
    latest().ends(1);
    expect(await stopped).toEqual({ isSound: false, books: [] });
  });

  it("is not sound when a worker that took events hands in no books, or none that can be read", async () => {
    await startReady();
    const stopped = keeper.stop();
    latest().saysWhatIsNotOurs({ kind: "books", books: { ...BOOKS, queued: -1 } });
    latest().ends(0);
    expect(await stopped).toEqual({ isSound: false, books: [] });
  });

  it("is safe before the start", async () => {
    expect(await keeper.stop()).toEqual({ isSound: true, books: [] });
    expect(forked).toEqual([]);
  });
});

describe("a signal", () => {
  it("is passed on to the process that is there", async () => {
    keeper.signal("SIGHUP");
    await startReady();
    keeper.signal("SIGHUP");
    expect(latest().signals).toEqual(["SIGHUP"]);
  });

  it("does not reach a process whose program still loads, which it would end, unless it is SIGKILL", async () => {
    const started = keeper.start();
    for (const life of ["the first", "the second"]) {
      keeper.signal("SIGHUP");
      expect([life, latest().signals]).toEqual([life, []]);
      keeper.signal("SIGKILL");
      expect([life, latest().signals]).toEqual([life, ["SIGKILL"]]);
      latest().starts();
      await started;
      keeper.signal("SIGHUP");
      expect([life, latest().signals]).toEqual([life, ["SIGKILL", "SIGHUP"]]);
      latest().ends(1);
      await clock.advance(500);
    }
  });
});

describe("the status of a worker", () => {
  const STATUS = { version: "1.0.0", processes: 1 } as ServiceStatus;

  it("is what it answers", async () => {
    await startReady();
    const [first, second] = [keeper.status(), keeper.status()];
    latest().says({ kind: "status", request: 2, status: { ...STATUS, version: "2.0.0" } });
    latest().says({ kind: "status", request: 1, status: STATUS });
    expect(latest().received.slice(-2)).toEqual([
      { kind: "ask", about: "status", request: 1 },
      { kind: "ask", about: "status", request: 2 },
    ]);
    expect(await first).toEqual(STATUS);
    expect(await second).toEqual({ ...STATUS, version: "2.0.0" });
  });

  it("is unknown when it does not answer within three seconds", async () => {
    await startReady();
    const status = keeper.status();
    await clock.advance(3_000);
    expect(await status).toBeUndefined();
    latest().says({ kind: "status", request: 1, status: STATUS });
  });

  it("is unknown when it dies, and before it is ready", async () => {
    expect(await keeper.status()).toBeUndefined();
    await startReady();
    const status = keeper.status();
    latest().ends(1);
    expect(await status).toBeUndefined();
    expect(await keeper.status()).toBeUndefined();
  });
});

describe("the metrics of a worker", () => {
  function accepted(value: number): MetricsReading {
    const name = "stats_events_accepted_total";
    return [
      { name, help: "", type: "counter", aggregator: "sum", values: [{ value, labels: {} }] },
    ] as object[] as MetricsReading;
  }

  /** Resolves with the sum of what the keeper knows. */
  async function sum(metrics = keeper.metrics()): Promise<number> {
    const values = (await metrics).flat().flatMap((metric) => metric.values.map(({ value }) => value));
    return values.reduce((total, value) => total + value, 0);
  }

  it("are what it answers, also while it drains", async () => {
    await startReady();
    const metrics = keeper.metrics();
    expect(latest().received.at(-1)).toEqual({ kind: "ask", about: "metrics", request: 1 });
    latest().says({ kind: "metrics", request: 1, metrics: accepted(5) });
    expect(await sum(metrics)).toBe(5);
    void keeper.stop();
    const draining = keeper.metrics();
    latest().says({ kind: "metrics", request: 2, metrics: accepted(6) });
    expect(await sum(draining)).toBe(6);
  });

  it("stand as they were when it does not answer within three seconds", async () => {
    await startReady();
    void keeper.metrics();
    latest().says({ kind: "metrics", request: 1, metrics: accepted(5) });
    const hanging = keeper.metrics();
    await clock.advance(3_000);
    expect(await sum(hanging)).toBe(5);
    latest().says({ kind: "metrics", request: 2, metrics: accepted(8) });
    const late = keeper.metrics();
    await clock.advance(3_000);
    expect(await sum(late)).toBe(8);
  });

  it("are there at once when it dies, and while its successor starts", async () => {
    expect(await sum()).toBe(0);
    await startReady();
    void keeper.metrics();
    latest().says({ kind: "metrics", request: 1, metrics: accepted(5) });
    const metrics = keeper.metrics();
    latest().ends(null, "ended by SIGKILL");
    expect(await sum(metrics)).toBe(5);
    await clock.advance(500);
    expect(forked).toHaveLength(2);
    expect(await sum()).toBe(5);
    latest().starts();
    const successor = keeper.metrics();
    latest().says({ kind: "metrics", request: 3, metrics: accepted(2) });
    expect(await sum(successor)).toBe(7);
  });
});
