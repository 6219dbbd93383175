import { pino } from "pino";
import type { BufferedBatch } from "../../../src/buffer/buffer.js";
import type { EncodedBatch } from "../../../src/event/tuple-codec.js";
import { BufferReplay } from "../../../src/ingest/buffer-replay.js";
import { Ledger } from "../../../src/ingest/ledger.js";
import { type Sink, SinkError, type WriteOptions, type WriteOutcome } from "../../../src/sink/sink.js";
import { FakeClock } from "../../support/fake-clock.js";

/** A spool in memory. A batch's first chunk says which one it is. */
class FakeSpool {
  readonly batches: BufferedBatch[] = [];
  readonly removed: string[] = [];
  readonly damaged = new Set<string>();
  readFault: Error | undefined;
  oldestFault: Error | undefined;
  #listener: (() => void) | undefined;

  store(name: string, rows: number): void {
    this.batches.push({ name, rows });
    this.#listener?.();
  }

  oldest(): BufferedBatch | undefined {
    if (this.oldestFault !== undefined) {
      throw this.oldestFault;
    }
    return this.batches[0];
  }

  async read(batch: BufferedBatch): Promise<EncodedBatch | undefined> {
    if (this.readFault !== undefined) {
      throw this.readFault;
    }
    if (this.damaged.has(batch.name)) {
      this.#take(batch);
      return undefined;
    }
    const chunk = Buffer.from(batch.name);
    return { rows: batch.rows, bytes: chunk.length, chunks: [chunk] };
  }

  async remove(batch: BufferedBatch): Promise<void> {
    this.#take(batch);
    this.removed.push(batch.name);
  }

  /** How often others could have had what it holds. */
  pauses = 0;

  pause(): void {
    this.pauses += 1;
  }

  onAvailable(listener: (() => void) | undefined): void {
    this.#listener = listener;
  }

  get hasListener(): boolean {
    return this.#listener !== undefined;
  }

  #take(batch: BufferedBatch): void {
    this.batches.splice(this.batches.indexOf(batch), 1);
  }
}

/** A sink that takes everything, unless it has a fault, or hangs until the signal aborts. */
class FakeSink implements Sink {
  readonly tries: { name: string; attempt: number; at: number }[] = [];
  fault: Error | undefined;
  hangs = false;
  outcome: ((rows: number) => WriteOutcome) | undefined;

  constructor(readonly clock: FakeClock) {}

  async write(batch: EncodedBatch, { attempt, signal }: WriteOptions): Promise<WriteOutcome> {
    this.tries.push({ name: String(batch.chunks[0]), attempt, at: this.clock.elapsed() });
    if (this.hangs) {
      await new Promise((_, reject) => {
        signal.addEventListener("abort", () => reject(new SinkError("transient", undefined, signal.reason)));
      });
    }
    if (this.fault !== undefined) {
      throw this.fault;
    }
    return this.outcome?.(batch.rows) ?? { inserted: batch.rows, duplicates: 0, dead: 0 };
  }
}

const transient = () => new SinkError("transient", undefined, new Error("connection refused"));

let clock: FakeClock;
let spool: FakeSpool;
let sink: FakeSink;
let ledger: Ledger;
let live: { fault: unknown; queuedRows: number; sinkFault(): unknown; sinkWorks(): void };
let replay: BufferReplay;

beforeEach(() => {
  clock = new FakeClock();
  spool = new FakeSpool();
  sink = new FakeSink(clock);
  ledger = new Ledger();
  live = {
    fault: undefined,
    queuedRows: 0,
    sinkFault() {
      return this.fault;
    },
    sinkWorks() {
      this.fault = undefined;
    },
  };
  replay = new BufferReplay({
    buffer: spool,
    sink,
    ledger,
    liveTraffic: live,
    clock,
    random: () => 0.5,
    logger: pino({ level: "silent" }),
  });
});

afterEach(async () => {
  await replay.close();
  expect(clock.pendingTimers).toBe(0);
  expect(ledger.missing(0)).toBe(0);
});

/** Puts a batch in the spool as the Flusher does. */
function store(name: string, rows = 10): void {
  ledger.accepted += rows;
  spool.store(name, rows);
  ledger.buffered += rows;
}

const tried = () => sink.tries.map(({ name }) => name);

describe("BufferReplay", () => {
  it("replays what an earlier run left, oldest first, and removes each batch once it is written", async () => {
    for (const name of ["a", "b", "c"]) {
      spool.store(name, 10);
    }
    ledger.recover(30, 0);
    replay.start();
    await clock.settle();
    expect(tried()).toEqual(["a", "b", "c"]);
    expect(spool.removed).toEqual(["a", "b", "c"]);
    expect(ledger.read()).toMatchObject({ recovered: 30, inserted: 30, buffered: 0 });
  });

  it("books where the rows ended as the sink says", async () => {
    sink.outcome = () => ({ inserted: 5, duplicates: 4, dead: 1 });
    store("a", 10);
    replay.start();
    await clock.settle();
    expect(ledger.read()).toMatchObject({ inserted: 5, duplicates: 4, dead: 1, buffered: 0 });
  });

  it("is woken by a batch that is stored while there is nothing to do, without a timer", async () => {
    replay.start();
    await clock.settle();
    expect(clock.pendingTimers).toBe(0);
    store("a");
    await clock.settle();
    expect(spool.removed).toEqual(["a"]);
  });

  it("keeps the batch when the sink fails, and tries it again with the next attempt number", async () => {
    sink.fault = transient();
    store("a");
    store("b");
    replay.start();
    await clock.advance(60_000);
    expect(sink.tries.length).toBeGreaterThan(3);
    expect(sink.tries.map(({ attempt }) => attempt)).toEqual(sink.tries.map((_, index) => index + 1));
    expect(new Set(tried())).toEqual(new Set(["a"]));
    expect(spool.removed).toEqual([]);
    expect(ledger.read()).toMatchObject({ buffered: 20, inserted: 0 });

    sink.fault = undefined;
    await clock.advance(30_000);
    expect(spool.removed).toEqual(["a", "b"]);
    expect(sink.tries.at(-1)).toMatchObject({ name: "b", attempt: 1 });
  });

  it("waits longer after each failure, but no longer than 30 s", async () => {
    sink.fault = transient();
    store("a");
    replay.start();
    await clock.advance(600_000);
    const waits = sink.tries.slice(1).map(({ at }, index) => at - (sink.tries[index]?.at ?? 0));
    expect(waits.slice(0, 4)).toEqual([100, 200, 400, 800]);
    expect(Math.max(...waits)).toBe(15_000);
  });

  it("tells what the last try failed with until one does not", async () => {
    store("a");
    sink.fault = new SinkError("schema", "42P01", new Error("no such table"));
    replay.start();
    await clock.settle();
    const failingSince = clock.now();
    await clock.advance(60_000);
    expect(replay.sinkFault()).toBe(sink.fault);
    expect(replay.failingSince()).toBe(failingSince);
    sink.fault = undefined;
    await clock.advance(30_000);
    expect(replay.sinkFault()).toBeUndefined();
    expect(replay.failingSince()).toBeUndefined();
    expect(spool.removed).toEqual(["a"]);
  });

  it("tells of a file that cannot be read no more once it has been set aside", async () => {
    store("a");
    spool.readFault = new Error("EIO");
    replay.start();
    await clock.settle();
    expect(replay.sinkFault()).toMatchObject({ message: "EIO" });
    spool.readFault = undefined;
    spool.damaged.add("a");
    await clock.advance(1_000);
    expect(replay.sinkFault()).toBeUndefined();
  });

  it("waits long at once when the schema is at fault", async () => {
    sink.fault = new SinkError("schema", "42P01", new Error('relation "incoming" does not exist'));
    store("a");
    replay.start();
    await clock.advance(4_999);
    expect(sink.tries).toHaveLength(1);
    await clock.advance(1);
    expect(sink.tries).toHaveLength(2);
    expect(spool.batches).toHaveLength(1);
  });

  it("leaves it to live traffic to find out when the sink is back, and goes on within a second of that", async () => {
    live.fault = transient();
    live.queuedRows = 5;
    store("a");
    replay.start();
    await clock.advance(120_000);
    expect(sink.tries).toEqual([]);
    live.fault = undefined;
    await clock.advance(1_000);
    expect(spool.removed).toEqual(["a"]);
  });

  it("finds out by itself when live traffic has nothing left to try", async () => {
    live.fault = transient();
    store("a");
    replay.start();
    await clock.settle();
    expect(spool.removed).toEqual(["a"]);
  });

  it("cuts a long wait short when live traffic gets through again", async () => {
    sink.fault = live.fault = transient();
    store("a");
    replay.start();
    await clock.advance(100_000);
    const tries = sink.tries.length;
    sink.fault = live.fault = undefined;
    await clock.advance(1_000);
    expect(sink.tries).toHaveLength(tries + 1);
    expect(spool.removed).toEqual(["a"]);
  });

  it("tells live traffic when the sink has taken a batch", async () => {
    live.fault = transient();
    store("a");
    replay.start();
    await clock.settle();
    expect(spool.removed).toEqual(["a"]);
    expect(live.fault).toBeUndefined();
  });

  it("is not made to hammer by batches that are stored meanwhile", async () => {
    sink.fault = transient();
    store("a");
    replay.start();
    await clock.advance(100_000);
    const tries = sink.tries.length;
    for (let i = 0; i < 100; i++) {
      store(`more ${i}`);
      await clock.settle();
    }
    expect(sink.tries).toHaveLength(tries);
  });

  it("writes one batch at a time", async () => {
    sink.hangs = true;
    store("a");
    store("b");
    replay.start();
    await clock.advance(60_000);
    expect(tried()).toEqual(["a"]);
  });

  it("books a damaged batch as set aside and goes on with the next", async () => {
    spool.damaged.add("a");
    store("a", 7);
    store("b", 3);
    replay.start();
    await clock.settle();
    expect(spool.removed).toEqual(["b"]);
    expect(ledger.read()).toMatchObject({ setAside: 7, inserted: 3, buffered: 0 });
  });

  it("keeps a batch that cannot be read now", async () => {
    spool.readFault = new Error("EMFILE");
    store("a");
    replay.start();
    await clock.advance(50);
    expect(sink.tries).toEqual([]);
    expect(ledger.buffered).toBe(10);
    spool.readFault = undefined;
    await clock.advance(1_000);
    expect(spool.removed).toEqual(["a"]);
  });

  it("survives a bug, tells of it meanwhile, and goes on", async () => {
    store("a");
    spool.oldestFault = new TypeError("a bug");
    replay.start();
    await clock.advance(10_000);
    expect(replay.fault()).toMatch(/a bug/);
    spool.oldestFault = undefined;
    await clock.advance(10_000);
    expect(replay.fault()).toBeUndefined();
    expect(spool.removed).toEqual(["a"]);
  });

  it("treats what the sink should not throw as a fault of the sink", async () => {
    sink.fault = new TypeError("a bug in the sink");
    store("a");
    replay.start();
    await clock.settle();
    expect(replay.fault()).toBeUndefined();
    sink.fault = undefined;
    await clock.advance(1_000);
    expect(spool.removed).toEqual(["a"]);
  });

  it("close() aborts a write in flight, and its batch stays in the spool", async () => {
    sink.hangs = true;
    store("a");
    replay.start();
    await clock.settle();
    expect(tried()).toEqual(["a"]);
    await replay.close();
    expect(spool.batches).toHaveLength(1);
    expect(ledger.buffered).toBe(10);
    expect(spool.hasListener).toBe(false);
  });

  it("close() ends a wait, is safe twice, and nothing is replayed after it", async () => {
    sink.fault = transient();
    store("a");
    replay.start();
    await clock.advance(5_000);
    await replay.close();
    await replay.close();
    sink.fault = undefined;
    const tries = sink.tries.length;
    store("b");
    replay.start();
    await clock.advance(60_000);
    expect(sink.tries).toHaveLength(tries);
  });

  it("close() is safe before start()", async () => {
    await replay.close();
    replay.start();
    store("a");
    await clock.settle();
    expect(sink.tries).toEqual([]);
  });
});

test("what left the spool is in the books, and each try is told, as it ended", async () => {
  const tries: unknown[] = [];
  const observed = new BufferReplay({
    buffer: spool,
    sink,
    ledger,
    liveTraffic: live,
    clock,
    random: () => 0.5,
    logger: pino({ level: "silent" }),
    observer: {
      written: ({ rows, bytes }, { inserted }, durationMs) =>
        tries.push({ rows, bytes, inserted, durationMs }),
      failed: (faultClass) => tries.push(faultClass),
    },
  });
  store("one");
  sink.fault = transient();
  observed.start();
  await clock.settle();
  sink.fault = undefined;
  await clock.advance(1_000);
  expect(tries).toEqual(["transient", { rows: 10, bytes: 3, inserted: 10, durationMs: 0 }]);
  expect(ledger).toMatchObject({ replayed: 10, buffered: 0, inserted: 10 });
  await observed.close();
});
