/** A Flusher between fakes, whose books are checked at every step that a test takes; it never waits by itself. */
import { type Logger, pino } from "pino";
import type { Batch } from "../../src/ingest/batch.js";
import { EventQueue } from "../../src/ingest/event-queue.js";
import type { FlushObserver } from "../../src/ingest/flush-log.js";
import { Flusher } from "../../src/ingest/flusher.js";
import { Ledger } from "../../src/ingest/ledger.js";
import type { IncomingRow } from "./decoded.js";
import { eventOf, row, uuidv7At } from "./encoded.js";
import { FakeClock } from "./fake-clock.js";
import { FakeSink, type FakeSpool } from "./fake-sink.js";

export interface RigOptions {
  readonly flushIntervalMs?: number;
  readonly flushMaxRows?: number;
  readonly queueMaxBytes?: number;
  readonly shutdownTimeoutMs?: number;
  readonly sink?: FakeSink;
  readonly spool?: FakeSpool;
  readonly random?: () => number;
  readonly observer?: FlushObserver;
}

/** The largest number that a source of randomness gives: with it, a wait with full jitter is its upper bound. */
const ALMOST_ONE = 1 - Number.EPSILON / 2;

/** A line of the log. */
interface LogLine {
  readonly level: number;
  readonly msg: string;
  readonly [field: string]: unknown;
}

export class FlusherRig {
  readonly clock = new FakeClock();
  readonly ledger = new Ledger();
  readonly queue: EventQueue;
  readonly sink: FakeSink;
  readonly flusher: Flusher;
  /** All that was logged, from debug up. */
  readonly log: LogLine[] = [];
  /** The rows that were accepted, in their order. */
  readonly accepted: IncomingRow[] = [];
  #count = 0;

  constructor(options: RigOptions = {}) {
    const { flushIntervalMs = 1000, flushMaxRows = 3, shutdownTimeoutMs = 25_000 } = options;
    this.queue = new EventQueue({ flushMaxRows, queueMaxBytes: options.queueMaxBytes ?? 2 ** 20 });
    this.sink = options.sink ?? new FakeSink();
    this.flusher = new Flusher({
      queue: this.queue,
      ledger: this.ledger,
      sink: this.sink,
      buffer: options.spool,
      clock: this.clock,
      random: options.random ?? (() => ALMOST_ONE),
      logger: this.#logger(),
      observer: options.observer,
      options: { flushIntervalMs, shutdownTimeoutMs },
    });
  }

  /** A rig whose Flusher is running. */
  static start(options?: RigOptions): FlusherRig {
    const rig = new FlusherRig(options);
    rig.flusher.start();
    return rig;
  }

  /** Pushes the next of an endless series of different events, and returns the batch that it went to. */
  push(): Batch {
    this.#count += 1;
    const next = row(uuidv7At(this.clock.now(), this.#count), { itemId: this.#count });
    const batch = this.flusher.push(eventOf(next));
    this.accepted.push(next);
    this.checkBooks();
    return batch;
  }

  /** Pushes an event, and resolves when it is on stable storage. */
  pushDurably(): Promise<void> {
    return durable(this.flusher, this.push());
  }

  /** Pushes `count` events. */
  pushMany(count: number): void {
    for (let i = 0; i < count; i++) {
      this.push();
    }
  }

  /** Pushes until the queue is full, and returns what the last push was refused with. */
  pushUntilRefused(): unknown {
    for (;;) {
      try {
        this.push();
      } catch (error) {
        this.checkBooks();
        return error;
      }
    }
  }

  /** Lets all that is ready run. */
  async settle(): Promise<void> {
    await this.clock.settle();
    this.checkBooks();
  }

  async advance(ms: number): Promise<void> {
    await this.clock.advance(ms);
    this.checkBooks();
  }

  /** The texts of what was logged at `level` ("debug", "info" and so on), in order. */
  logged(level: string): string[] {
    return this.log.filter((line) => line.level === pino.levels.values[level]).map(({ msg }) => msg);
  }

  /** Fails when an event that was accepted is nowhere, or somewhere twice. */
  checkBooks(): void {
    const missing = this.ledger.missing(this.queue.rows);
    if (missing !== 0 || this.ledger.accepted !== this.accepted.length) {
      const books = JSON.stringify({ ...this.ledger.read(), queued: this.queue.rows, missing });
      throw new Error(`the books do not balance after ${this.accepted.length} events: ${books}`);
    }
  }

  #logger(): Logger {
    const write = (line: string) => void this.log.push(JSON.parse(line) as LogLine);
    return pino({ level: "debug" }, { write });
  }
}

/** Resolves when the batch is on stable storage; rejects when it never will be. */
export function durable(flusher: Pick<Flusher, "awaitDurable">, batch: Batch): Promise<void> {
  return new Promise((resolve, reject) => {
    flusher.awaitDurable(batch, (error) => (error === undefined ? resolve() : reject(error)));
  });
}

/** What has become of a promise so far. */
export interface Watched {
  state: "pending" | "resolved" | "rejected";
  error?: unknown;
}

/** Watches a promise, so that a test can tell that it has not settled yet. */
export function watch(promise: Promise<unknown>): Watched {
  const watched: Watched = { state: "pending" };
  promise.then(
    () => {
      watched.state = "resolved";
    },
    (error: unknown) => {
      watched.state = "rejected";
      watched.error = error;
    },
  );
  return watched;
}
