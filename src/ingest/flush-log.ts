/**
 * What those who watch hear of flushes: the observer of each try, and the log, which tells of each batch at debug and of
 * all within ten seconds in one line at info, or at warn if rows are dead letters now.
 */
import type { Logger } from "pino";
import type { WriteOutcome } from "../sink/sink.js";
import type { Clock } from "../util/clock.js";
import type { FaultClass } from "../util/fault-class.js";

/** Least time between two lines of a kind at info. */
const LINE_EVERY_MS = 10_000;

/** Hears of each batch that has ended. close() tells what is left. */
export class FlushLog {
  readonly #logger: Logger;
  readonly #flushed: Digest<FlushSums>;
  readonly #buffered: Digest<BufferSums>;

  constructor({ clock, logger }: { readonly clock: Clock; readonly logger: Logger }) {
    this.#logger = logger;
    this.#flushed = new Digest({
      clock,
      merge: addFlushes,
      // Somebody should look at dead letters; they do not go away by themselves.
      tell: (sums) => logger[sums.dead > 0 ? "warn" : "info"](sums, "flushed"),
    });
    this.#buffered = new Digest({
      clock,
      merge: addBuffered,
      tell: (sums) => logger.info(sums, "stored in the buffer"),
    });
  }

  /** The sink has taken a batch. */
  written(rows: number, outcome: WriteOutcome, durationMs: number): void {
    const ms = Math.round(durationMs);
    this.#logger.debug({ rows, durationMs: ms, ...outcome }, "flush");
    const { inserted, duplicates, dead } = outcome;
    this.#flushed.add({ flushes: 1, rows, inserted, duplicates, dead, maxDurationMs: ms });
  }

  /** The buffer has taken a batch; `queuedRows` are left in memory. */
  buffered(rows: number, queuedRows: number): void {
    this.#logger.debug({ rows, queuedRows }, "batch stored in the buffer");
    this.#buffered.add({ batches: 1, rows, queuedRows });
  }

  /** An outage has begun, or goes on. What was written before it is told, and the first that is after it will be at once. */
  failed(): void {
    this.#flushed.end();
  }

  close(): void {
    this.#flushed.end();
    this.#buffered.end();
  }
}

interface FlushSums {
  readonly flushes: number;
  readonly rows: number;
  readonly inserted: number;
  readonly duplicates: number;
  readonly dead: number;
  /** Of the longest. */
  readonly maxDurationMs: number;
}

function addFlushes(a: FlushSums, b: FlushSums): FlushSums {
  return {
    flushes: a.flushes + b.flushes,
    rows: a.rows + b.rows,
    inserted: a.inserted + b.inserted,
    duplicates: a.duplicates + b.duplicates,
    dead: a.dead + b.dead,
    maxDurationMs: Math.max(a.maxDurationMs, b.maxDurationMs),
  };
}

interface BufferSums {
  readonly batches: number;
  readonly rows: number;
  /** After the last. */
  readonly queuedRows: number;
}

function addBuffered(a: BufferSums, b: BufferSums): BufferSums {
  return { batches: a.batches + b.batches, rows: a.rows + b.rows, queuedRows: b.queuedRows };
}

interface DigestDeps<T> {
  readonly clock: Clock;
  readonly merge: (a: T, b: T) => T;
  readonly tell: (all: T) => void;
}

/** Tells the first of a run at once and what follows merged, every ten seconds; a run ends with ten in which none came. */
class Digest<T> {
  readonly #deps: DigestDeps<T>;
  #untold: T | undefined;
  /** While a run goes on. */
  #cancelNext: (() => void) | undefined;

  constructor(deps: DigestDeps<T>) {
    this.#deps = deps;
  }

  add(one: T): void {
    this.#untold = this.#untold === undefined ? one : this.#deps.merge(this.#untold, one);
    if (this.#cancelNext === undefined) {
      this.#next();
    }
  }

  /** Ends the run, and tells what is left of it. */
  end(): void {
    this.#cancelNext?.();
    this.#cancelNext = undefined;
    if (this.#untold !== undefined) {
      this.#deps.tell(this.#untold);
      this.#untold = undefined;
    }
  }

  #next(): void {
    const goesOn = this.#untold !== undefined;
    this.end();
    if (goesOn) {
      this.#cancelNext = this.#deps.clock.schedule(LINE_EVERY_MS, () => this.#next());
    }
  }
}

/** Hears how each try of a batch at the sink ends. It must neither throw nor take long. */
export interface FlushObserver {
  /** All rows of the batch have ended, as `outcome` says. */
  written(
    batch: { readonly rows: number; readonly bytes: number },
    outcome: WriteOutcome,
    durationMs: number,
  ): void;
  /** The batch is kept and will be tried again. */
  failed(faultClass: FaultClass, durationMs: number): void;
}

/** Nobody watches. */
export const UNOBSERVED: FlushObserver = { written: () => undefined, failed: () => undefined };
