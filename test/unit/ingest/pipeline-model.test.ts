import { basename } from "node:path";
import fc from "fast-check";
import { pino } from "pino";
import { decodeBatchFile } from "../../../src/buffer/batch-file.js";
import { Spool } from "../../../src/buffer/spool/spool.js";
import { spoolFileNumber } from "../../../src/buffer/spool/spool-recovery.js";
import type { EncodedBatch } from "../../../src/event/tuple-codec.js";
import { BufferReplay } from "../../../src/ingest/buffer-replay.js";
import { EventQueue } from "../../../src/ingest/event-queue.js";
import { Flusher } from "../../../src/ingest/flusher.js";
import { Ledger } from "../../../src/ingest/ledger.js";
import type { Sink, WriteOptions, WriteOutcome } from "../../../src/sink/sink.js";
import { decodeTuples } from "../../support/decoded.js";
import { eventOf, row, uuidv7At } from "../../support/encoded.js";
import { FakeClock } from "../../support/fake-clock.js";
import { FakeSink, sinkError } from "../../support/fake-sink.js";
import { MemoryDisk, MemorySpoolFs } from "../../support/memory-spool-fs.js";

/** More with MODEL_RUNS. */
const RUNS = Number(process.env.MODEL_RUNS ?? 1000);
/** A case that hangs, or that is shrunk for long, is told with its seed, and not lost to the test's own time-out. */
const CASE_TIMEOUT_MS = 30_000;
const TIME_LIMIT_MS = Math.max(90_000, 50 * RUNS);
const SILENT = pino({ level: "silent" });
const SHUTDOWN_TIMEOUT_MS = 25_000;
/** What a stop may take beyond that when the disk hangs. */
const HUNG_STOP_MS = 15_000;

/** One run of the service between fakes: what a process holds. */
class Life {
  readonly clock: FakeClock;
  readonly ledger = new Ledger();
  readonly queue = new EventQueue({ flushMaxRows: 3, queueMaxBytes: 20 * 118 * 3 });
  readonly fs: MemorySpoolFs;
  readonly spool: Spool;
  readonly flusher: Flusher;
  readonly replay: BufferReplay;
  isKilled = false;

  constructor(world: World, startMs: number) {
    this.clock = new FakeClock(startMs);
    this.fs = new MemorySpoolFs(world.disk);
    const shared = { ledger: this.ledger, clock: this.clock, random: () => 0.5, logger: SILENT };
    this.spool = new Spool({
      ...shared,
      directory: "/spool",
      maxBytes: 2 ** 30,
      fs: this.fs,
      lock: () => Promise.resolve({ close: () => Promise.resolve() }),
    });
    // A process that was killed hears no answer, though its statement may have been run.
    const sink: Sink = {
      write: async (batch: EncodedBatch, options: WriteOptions): Promise<WriteOutcome> => {
        const outcome = await world.table.write(batch, options);
        return this.isKilled ? new Promise<never>(() => undefined) : outcome;
      },
    };
    const { spool, queue } = this;
    const options = { flushIntervalMs: 1000, shutdownTimeoutMs: SHUTDOWN_TIMEOUT_MS };
    this.flusher = new Flusher({ ...shared, queue, sink, buffer: spool, options });
    this.replay = new BufferReplay({ ...shared, buffer: spool, sink, liveTraffic: this.flusher });
  }

  async start(): Promise<void> {
    const { rows, setAsideRows } = await this.spool.open();
    this.ledger.recover(rows, setAsideRows);
    this.flusher.start();
    this.replay.start();
    await this.clock.settle();
  }

  async stop(): Promise<void> {
    this.flusher.stopIntake();
    const stopped = Promise.all([this.replay.close(), this.flusher.close()]);
    await this.clock.advance(SHUTDOWN_TIMEOUT_MS + HUNG_STOP_MS);
    await stopped;
    await this.spool.close();
  }

  checkBooks(): void {
    const missing = this.ledger.missing(this.queue.rows);
    if (missing !== 0) {
      throw new Error(`the books do not balance: ${JSON.stringify({ ...this.ledger.read(), missing })}`);
    }
  }
}

/** What outlives a run of the service, and what was promised to its callers. */
class World {
  readonly table = new FakeSink();
  readonly disk = new MemoryDisk();
  readonly accepted = new Set<string>();
  /** Answered OK to a caller that asked for durability. */
  readonly durable = new Set<string>();
  /** In memory only when a run was killed, or when its end could put them nowhere. */
  readonly mayBeLost = new Set<string>();
  life = new Life(this, 1_700_000_000_000);
  crashes = 0;
  #count = 0;

  push(isDurable: boolean): void {
    this.#count += 1;
    const next = row(uuidv7At(this.life.clock.now(), this.#count), { itemId: this.#count });
    let batch: ReturnType<Flusher["push"]>;
    try {
      batch = this.life.flusher.push(eventOf(next));
    } catch {
      // Full: refused, so nothing was promised.
      return;
    }
    this.accepted.add(next.id);
    if (isDurable) {
      const { life } = this;
      life.flusher.awaitDurable(batch, (error) => {
        if (error === undefined && !life.isKilled) {
          this.durable.add(next.id);
        }
      });
    }
  }

  /** The process is gone, with all that it had in memory only. */
  async crash(): Promise<void> {
    const { life } = this;
    life.isKilled = true;
    life.fs.kill();
    this.crashes += 1;
    await this.#startAfter(life);
  }

  async restart(): Promise<void> {
    const { life } = this;
    const wasSound = !this.disk.isBroken && !this.disk.hangs;
    await life.stop();
    life.checkBooks();
    if (wasSound) {
      // What the sink did not take is in the spool.
      expect(life.queue.rows).toBe(0);
    }
    await this.#startAfter(life);
  }

  async #startAfter(life: Life): Promise<void> {
    const safe = new Set([...this.table.inserted.map(({ id }) => id), ...this.#idsOnDisk()]);
    const lost = [...this.accepted].filter((id) => !safe.has(id) && !this.mayBeLost.has(id));
    expect(lost.length).toBeLessThanOrEqual(life.queue.rows);
    for (const id of lost) {
      this.mayBeLost.add(id);
    }
    // A call in the system may have its effect after the process has ended.
    this.disk.answer();
    await life.clock.settle();
    this.life = new Life(this, life.clock.now() + 1);
    await this.life.start();
  }

  /** What whole files hold; what a kill left half written, or whole under its temporary name, does not count. */
  #idsOnDisk(): string[] {
    const kept = [...this.disk.files].filter(([path]) => spoolFileNumber(basename(path)) !== undefined);
    return kept.flatMap(([, file]) => {
      try {
        return decodeTuples(Buffer.concat(decodeBatchFile(file).chunks)).map(({ id }) => id);
      } catch {
        return [];
      }
    });
  }

  /** All faults are over; the service is left alone until memory and spool are empty. */
  async settle(): Promise<void> {
    this.disk.isBroken = false;
    this.disk.answer();
    this.table.mode = "accept";
    if (this.table.inFlight > 0) {
      this.table.last.succeed();
    }
    await this.life.clock.advance(120_000);
    await this.restart();
    await this.life.clock.advance(120_000);
    await this.life.stop();
    this.life.checkBooks();
  }

  check(): void {
    const inTable = this.table.inserted.map(({ id }) => id);
    const table = new Set(inTable);
    expect(table.size).toBe(inTable.length);
    expect(inTable.filter((id) => !this.accepted.has(id))).toEqual([]);
    expect([...this.durable].filter((id) => !table.has(id))).toEqual([]);
    expect([...this.accepted].filter((id) => !table.has(id) && !this.mayBeLost.has(id))).toEqual([]);
    expect(this.life.queue.rows).toBe(0);
    expect(this.life.spool.batches).toBe(0);
  }
}

type Model = Record<string, never>;
type Command = fc.AsyncCommand<Model, World>;

/** A command that can always be run, and after which the books must balance. */
function command(name: string, work: (world: World) => unknown): Command {
  return {
    check: () => true,
    toString: () => name,
    async run(_model, world) {
      await work(world);
      await world.life.clock.settle();
      world.life.checkBooks();
    },
  };
}

const loseAnswer = (write: FakeSink["last"]): Promise<never> => {
  write.insert();
  return Promise.reject(sinkError("transient"));
};

const modes = ["hold", "transient", "schema", "unknown", loseAnswer] as const;

const commands: fc.Arbitrary<Command>[] = [
  fc
    .boolean()
    .map((durable) => command(`push(${durable ? "durable" : "queued"})`, (world) => world.push(durable))),
  fc.integer({ min: 2, max: 30 }).map((n) =>
    command(`push × ${n}`, (world) => {
      for (let i = 0; i < n; i++) {
        world.push(false);
      }
    }),
  ),
  fc
    .constantFrom(1, 100, 1000, 2000, 30_000)
    .map((ms) => command(`tick(${ms})`, (world) => world.life.clock.advance(ms))),
  fc.constantFrom(...modes).map((mode) =>
    command(`fail(${String(mode)})`, (world) => {
      world.table.mode = mode;
    }),
  ),
  fc.constant(
    command("recover", (world) => {
      world.table.mode = "accept";
      if (world.table.inFlight > 0) {
        world.table.last.succeed();
      }
    }),
  ),
  fc.boolean().map((isBroken) =>
    command(`disk(${isBroken ? "broken" : "works"})`, (world) => {
      world.disk.isBroken = isBroken;
    }),
  ),
  fc
    .boolean()
    .map((hangs) =>
      command(`disk(${hangs ? "hangs" : "answers"})`, (world) =>
        hangs ? world.disk.hang() : world.disk.answer(),
      ),
    ),
  fc.constant(command("seal", (world) => world.life.queue.seal())),
  fc.constant(command("crash", (world) => world.crash())),
  fc.constant(command("restart", (world) => world.restart())),
];

test(
  `whatever fails and whenever the service dies, promised events are in the table once (${RUNS} runs)`,
  async () => {
    let spooled = 0;
    let crashes = 0;
    await fc.assert(
      fc.asyncProperty(fc.commands(commands, { maxCommands: 40 }), async (plan) => {
        const world = new World();
        await world.life.start();
        await fc.asyncModelRun(() => ({ model: {}, real: world }), plan);
        spooled += world.life.ledger.recovered;
        crashes += world.crashes;
        await world.settle();
        world.check();
      }),
      { numRuns: RUNS, timeout: CASE_TIMEOUT_MS, interruptAfterTimeLimit: TIME_LIMIT_MS },
    );
    // The paths under test did run.
    expect(spooled).toBeGreaterThan(0);
    expect(crashes).toBeGreaterThan(0);
  },
  TIME_LIMIT_MS + 2 * CASE_TIMEOUT_MS,
);
