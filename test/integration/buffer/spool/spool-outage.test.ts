import { mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pino } from "pino";
import { Spool } from "../../../../src/buffer/spool/spool.js";
import { EventIds } from "../../../../src/event/event-id.js";
import { formatUuid } from "../../../../src/event/uuid.js";
import { BufferReplay } from "../../../../src/ingest/buffer-replay.js";
import { EventQueue } from "../../../../src/ingest/event-queue.js";
import { Flusher } from "../../../../src/ingest/flusher.js";
import { Ledger } from "../../../../src/ingest/ledger.js";
import { migrate } from "../../../../src/postgres/migrate.js";
import { PostgresSink } from "../../../../src/sink/postgres-sink.js";
import { type Sink, SinkError } from "../../../../src/sink/sink.js";
import { systemClock } from "../../../../src/util/clock.js";
import { createTestDatabase, type TestDatabase } from "../../../support/database.js";
import { durable } from "../../../support/flusher-rig.js";
import { makeGate } from "../../../support/rpc-port.js";

const MIGRATIONS = join(import.meta.dirname, "../../../../migrations");

const ids = new EventIds({ now: Date.now });

let database: TestDatabase;
let directory: string;
let service: PartOfService | undefined;
/** Text forms of the ids of all events that were accepted, by whatever run. */
let accepted: string[];

beforeAll(async () => {
  database = await createTestDatabase();
  await migrate({ url: database.url, directory: MIGRATIONS, logger: pino({ level: "silent" }) });
});

afterAll(async () => {
  await database.close();
});

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "stats-outage-"));
  accepted = [];
  await database.pool.query("TRUNCATE incoming");
});

afterEach(async () => {
  await service?.close();
  await rm(directory, { recursive: true, force: true });
});

/** What the container makes of the path of an event, with a sink that can be made to fail. */
class PartOfService {
  readonly ledger = new Ledger();
  readonly queue = new EventQueue({ flushMaxRows: 20, queueMaxBytes: 2 ** 20 });
  readonly spool: Spool;
  readonly flusher: Flusher;
  readonly replay: BufferReplay;
  /** How every write fails; `after commit` writes the rows first, as when the answer to COMMIT is lost. */
  outage: "before commit" | "after commit" | undefined;
  /** Opens when rows have been written and the answer to that was lost. */
  readonly answerLost = makeGate();
  readonly #onLog = new Set<(msg: string) => void>();

  constructor() {
    const clock = systemClock;
    const random = Math.random;
    const logger = pino({ level: "debug" }, { write: (line: string) => this.#logged(line) });
    const { ledger, queue } = this;
    const sink = this.#failable(
      new PostgresSink({ pool: database.pool, prepare: async () => undefined, logger }),
    );
    this.spool = new Spool({ directory, maxBytes: 2 ** 24, clock, logger });
    const { spool } = this;
    const options = { flushIntervalMs: 20, shutdownTimeoutMs: 10_000 };
    this.flusher = new Flusher({ queue, ledger, sink, buffer: spool, clock, random, logger, options });
    this.replay = new BufferReplay({
      buffer: spool,
      sink,
      ledger,
      liveTraffic: this.flusher,
      clock,
      random,
      logger,
    });
  }

  async start(): Promise<void> {
    const { rows, setAsideRows } = await this.spool.open();
    this.ledger.recover(rows, setAsideRows);
    this.flusher.start();
    this.replay.start();
  }

  async close(): Promise<void> {
    await this.replay.close();
    await this.flusher.close();
    await this.spool.close();
  }

  /** Pushes `count` events and returns when all of them are on stable storage. */
  async pushDurably(count: number): Promise<void> {
    const id = new Uint8Array(16);
    const settled = Array.from({ length: count }, (_, n) => {
      ids.next(id);
      const event = { id, property: "news", section: 1, itemId: n + 1, inet: new Uint8Array(0) };
      const batch = this.flusher.push(event);
      accepted.push(formatUuid(id));
      return durable(this.flusher, batch);
    });
    await Promise.all(settled);
  }

  /** The same, in several rounds of twenty: in an outage each makes a file or more. */
  async pushDurablyInRounds(rounds: number): Promise<void> {
    for (let round = 0; round < rounds; round++) {
      await this.pushDurably(20);
    }
  }

  /** Resolves when this is logged from now on. */
  logged(msg: string): Promise<void> {
    return new Promise((resolve) => {
      const listener = (text: string) => {
        if (text === msg) {
          this.#onLog.delete(listener);
          resolve();
        }
      };
      this.#onLog.add(listener);
    });
  }

  missing(): number {
    return this.ledger.missing(this.queue.rows);
  }

  #logged(line: string): void {
    const { msg } = JSON.parse(line) as { msg: string };
    for (const listener of this.#onLog) {
      listener(msg);
    }
  }

  #failable(sink: Sink): Sink {
    return {
      write: async (batch, options) => {
        if (this.outage !== "before commit") {
          const outcome = await sink.write(batch, options);
          if (this.outage === undefined) {
            return outcome;
          }
          this.answerLost.open();
        }
        throw new SinkError("transient", undefined, new Error("the connection was cut"));
      },
    };
  }
}

async function rowIds(): Promise<string[]> {
  const { rows } = await database.pool.query<{ id: string }>("SELECT id FROM incoming ORDER BY id");
  return rows.map(({ id }) => id);
}

async function startService(outage?: PartOfService["outage"]): Promise<PartOfService> {
  service = new PartOfService();
  service.outage = outage;
  await service.start();
  return service;
}

test("an outage is bridged by the spool, and once it is over each event is in the table exactly once", async () => {
  const { ledger, spool } = await startService();
  const running = service as PartOfService;
  await running.pushDurably(100);
  expect(ledger.read()).toMatchObject({ inserted: 100, buffered: 0 });

  running.outage = "before commit";
  await running.pushDurablyInRounds(15);
  running.outage = "after commit";
  await running.pushDurablyInRounds(15);
  // The disk may take all of them between one try of PostgreSQL and the next.
  await running.answerLost.opened;
  expect(ledger.buffered).toBeGreaterThan(500);
  expect(spool.rows).toBe(ledger.buffered);
  expect(spool.batches).toBeGreaterThan(20);
  expect(running.missing()).toBe(0);
  const { buffered } = ledger;

  const replayed = running.logged("buffer: all of it is replayed");
  running.outage = undefined;
  await running.pushDurably(100);
  await replayed;
  expect(spool).toMatchObject({ rows: 0, batches: 0, bytes: 0 });
  expect((await readdir(directory)).filter((name) => !name.startsWith("."))).toEqual([]);
  await running.close();

  expect(buffered).toBeGreaterThan(0);
  expect(ledger.read()).toMatchObject({ accepted: 800, buffered: 0, dead: 0, setAside: 0 });
  // Those that were written although the sink said that they were not.
  expect(ledger.duplicates).toBeGreaterThan(0);
  expect(ledger.inserted + ledger.duplicates).toBe(800);
  expect(running.missing()).toBe(0);
  expect(await rowIds()).toEqual(accepted.toSorted());
});

test("what is buffered at the end of a run is replayed by the next, beside live traffic", async () => {
  const first = await startService("after commit");
  await first.pushDurably(150);
  const undurable = first.pushDurably(50);
  await first.close();
  await undurable;
  expect(first.ledger.read()).toMatchObject({ accepted: 200, inserted: 0, buffered: 200 });
  expect(first.missing()).toBe(0);

  const second = await startService("before commit");
  expect(second.ledger.read()).toMatchObject({ recovered: 200, buffered: 200 });
  await second.pushDurably(40);
  const replayed = second.logged("buffer: all of it is replayed");
  second.outage = undefined;
  await replayed;
  await second.close();
  const { inserted, duplicates } = second.ledger;
  expect(duplicates).toBeGreaterThan(0);
  expect(inserted + duplicates).toBe(240);
  expect(second.ledger.read()).toMatchObject({ accepted: 40, recovered: 200, buffered: 0 });
  expect(second.missing()).toBe(0);
  expect(await rowIds()).toEqual(accepted.toSorted());
});

test("a run that ends in the middle of replaying leaves the rest to the next", async () => {
  const first = await startService("before commit");
  await first.pushDurablyInRounds(25);
  await first.close();
  expect(first.ledger.buffered).toBe(500);

  const second = await startService();
  await second.logged("buffer: batch replayed");
  await second.close();
  const { inserted, buffered } = second.ledger;
  expect(buffered).toBeGreaterThan(0);
  expect(inserted).toBeGreaterThan(0);
  expect(inserted + buffered).toBe(500);
  expect(second.missing()).toBe(0);

  const third = await startService();
  if (third.spool.batches > 0) {
    await third.logged("buffer: all of it is replayed");
  }
  await third.close();
  expect(third.missing()).toBe(0);
  expect(await rowIds()).toEqual(accepted.toSorted());
});
