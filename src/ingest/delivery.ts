/**
 * Sees batches to their end: tries them at the sink, one at a time, with backoff, and while the sink cannot take them
 * puts them into the buffer in parallel.
 */
import type { Logger } from "pino";
import type { BatchBuffer } from "../buffer/buffer.js";
import { type Sink, SinkError, type WriteOutcome } from "../sink/sink.js";
import { type BackoffOptions, backoffMs, SCHEMA_BACKOFF } from "../util/backoff.js";
import type { Clock } from "../util/clock.js";
import { messageOf } from "../util/error-message.js";
import { type Batch, joinBatches } from "./batch.js";
import { DrainRate } from "./drain-rate.js";
import type { EventQueue } from "./event-queue.js";
import { FlushLog, type FlushObserver, UNOBSERVED } from "./flush-log.js";
import type { Ledger } from "./ledger.js";

/** Where batches wait while the sink cannot take them. */
export type BatchStore = Pick<BatchBuffer, "freeBytes" | "store">;

export interface DeliveryDeps {
  readonly queue: EventQueue;
  readonly ledger: Ledger;
  readonly sink: Sink;
  /** undefined: there is none, and the queue alone bridges an outage. */
  readonly buffer: BatchStore | undefined;
  readonly clock: Clock;
  /** In [0, 1). */
  readonly random: () => number;
  readonly logger: Logger;
  /** Default: nobody watches. */
  readonly observer?: FlushObserver | undefined;
  /** Called when a try has ended, or the way of batches to the buffer, either way. */
  readonly onEnd: () => void;
}

/** One try of a batch at the sink. */
interface Attempt {
  readonly batch: Batch;
  readonly startedAt: number;
  readonly controller: AbortController;
}

/** A try that has taken this long counts as an outage, so that the buffer may help before it fails. */
const SLOW_ATTEMPT_MS = 2_000;
/** Share of the queue's memory from which batches go to the buffer during an outage. */
const BUFFER_FULLNESS = 0.5;
const BUFFER_RETRY_MS = 5_000;
/**
 * Batches that are together no larger than this share a file: one takes three waits for the disk, and where batches are
 * small a stop could not save them all in time, each by itself. Rows as in a usual batch, for it is replayed as one.
 */
const BUFFERED_ROWS = 10_000;
const BUFFERED_BYTES = 2 ** 20;
/** Durable callers are gathered this long for one file during an outage: each takes a block of the disk. */
const BUFFER_GATHER_MS = 10;
const RETRY_BACKOFF: BackoffOptions = { firstMs: 100, maxMs: 30_000 };

/** Delivers the batches of a queue. One try is in flight at a time, and beside it one file on its way to the buffer. */
export class Delivery {
  readonly #deps: DeliveryDeps;
  readonly #observer: FlushObserver;
  readonly #log: FlushLog;
  readonly #drainRate = new DrainRate();
  #attempt: Attempt | undefined;
  /** Batches are on their way to the buffer. They are the queue's still, and count there. */
  #isStoring = false;
  #failures = 0;
  #lastFault: SinkError | undefined;
  #failingSince: number | undefined;
  #lastSuccessAt: number | undefined;
  #retryAt = 0;
  #bufferRetryAt = 0;
  /** Why the buffer took none of the last batches of this outage, as the log has it. */
  #bufferFault: string | undefined;
  #bug: { readonly reason: unknown } | undefined;

  constructor(deps: DeliveryDeps) {
    this.#deps = deps;
    this.#observer = deps.observer ?? UNOBSERVED;
    this.#log = new FlushLog(deps);
  }

  /** True while a try is in flight. */
  get isBusy(): boolean {
    return this.#attempt !== undefined;
  }

  /** True while no batch is in the hands of the sink or of the buffer. */
  get isIdle(): boolean {
    return !this.isBusy && !this.#isStoring;
  }

  /** The last fault of the sink, while batches fail; undefined when the last one was written. */
  get fault(): SinkError | undefined {
    return this.#lastFault;
  }

  /** When the first batch failed that was not written since, in Unix milliseconds; undefined when none does. */
  get failingSince(): number | undefined {
    return this.#failingSince;
  }

  /** When the last batch was written, in Unix milliseconds; undefined before the first. */
  get lastSuccessAt(): number | undefined {
    return this.#lastSuccessAt;
  }

  /** True while the sink fails, or is so slow that it may as well. */
  get isOutage(): boolean {
    const startedAt = this.#attempt?.startedAt ?? Number.POSITIVE_INFINITY;
    return this.#failures > 0 || this.#deps.clock.elapsed() - startedAt >= SLOW_ATTEMPT_MS;
  }

  /** When a caller that is refused now should try again, in milliseconds. */
  retryAfterMs(): number {
    const { queue, clock, random } = this.#deps;
    const untilRetryMs = this.#failures > 0 ? this.#retryAt - clock.elapsed() : 0;
    return this.#drainRate.retryAfterMs(queue.rows, untilRetryMs, random);
  }

  /** Hears that the sink has taken a batch, of ours or of the buffer: what failed before is worth a try at once. */
  recover(): void {
    this.#lastSuccessAt = this.#deps.clock.now();
    this.#failingSince = undefined;
    if (this.#lastFault !== undefined) {
      this.#deps.logger.info({ afterFailures: this.#failures }, "flush: the database takes batches again");
    }
    this.forgive();
  }

  /** Forgets the failures so far: the next try is made at once. */
  forgive(): void {
    this.#failures = 0;
    this.#lastFault = undefined;
    this.#retryAt = 0;
    this.#bufferRetryAt = 0;
    this.#bufferFault = undefined;
  }

  /** Ends the try in flight, if any; its batch is the oldest in the queue again. For the stop: no try follows. */
  abort(reason: string): void {
    this.#attempt?.controller.abort(new Error(reason));
  }

  /** Throws what went wrong at the end of a try or of a relief, and was a fault of ours; once. */
  throwBug(): void {
    const bug = this.#bug;
    this.#bug = undefined;
    if (bug !== undefined) {
      throw bug.reason;
    }
  }

  /** Starts a try of the batch that `next` gives, if it gives one, unless one is in flight or it is too early. */
  begin(next: () => Batch | undefined): void {
    const now = this.#deps.clock.elapsed();
    const batch = this.isBusy || now < this.#retryAt ? undefined : next();
    if (batch !== undefined) {
      this.#attempt = { batch, startedAt: now, controller: new AbortController() };
      void this.#try(this.#attempt);
    }
  }

  /**
   * During an outage, starts to move the oldest batches that are not in flight to the buffer, as many as share a file, if
   * memory runs short, a caller waits for durability, or `isDraining`; unless some are on their way, or it is too early.
   */
  beginRelief(isDraining: boolean): void {
    const batches = this.#needsRelief(isDraining) ? this.#takeOldest() : [];
    if (batches.length > 0) {
      this.#isStoring = true;
      void this.#relieve(batches, isDraining);
    }
  }

  /** At the very end, when {@link Delivery.isIdle}: puts each batch on disk, or abandons it. Its rows still count then. */
  async saveRest(): Promise<void> {
    for (let batches = this.#takeOldest(); batches.length > 0; batches = this.#takeOldest()) {
      if (!(await this.#store(batches))) {
        for (const batch of batches) {
          batch.abandon();
        }
      }
    }
  }

  /** Logs what is left to tell. Nothing may be begun after it. */
  close(): void {
    this.#log.close();
  }

  /** Moments, in the clock's elapsed milliseconds, at which there may be something to do. Some may be over. */
  dueTimes(): number[] {
    const due = this.#deps.queue.rows > 0 ? [this.#retryAt, this.#bufferRetryAt] : [];
    return this.#attempt === undefined ? due : [...due, this.#attempt.startedAt + SLOW_ATTEMPT_MS];
  }

  /** Takes as many of the oldest batches as share a file of the buffer, and one in any case, if there is one. */
  #takeOldest(): Batch[] {
    const { queue, buffer } = this.#deps;
    if (!queue.hasSealed) {
      queue.seal();
    }
    let rows = BUFFERED_ROWS;
    let bytes = Math.min(BUFFERED_BYTES, buffer?.freeBytes ?? 0);
    const batches: Batch[] = [];
    for (let next = queue.oldest; next !== undefined; next = queue.oldest) {
      rows -= next.rows;
      bytes -= next.bytes;
      if (batches.length > 0 && (rows < 0 || bytes < 0)) {
        break;
      }
      queue.take();
      batches.push(next);
    }
    return batches;
  }

  /** Never rejects: a failed try ends in {@link Delivery.#fail}, a fault of ours in {@link Delivery.throwBug}. */
  async #try(attempt: Attempt): Promise<void> {
    attempt.batch.attempts += 1;
    try {
      await this.#write(attempt).then(
        (outcome) => this.#succeed(attempt, outcome),
        (error: unknown) => this.#fail(attempt, SinkError.of(error)),
      );
    } catch (reason) {
      this.#bug = { reason };
    } finally {
      this.#attempt = undefined;
      this.#deps.onEnd();
    }
  }

  /** Writes and books a batch. A try that is aborted ends, even if the sink hangs: it must not keep the process. */
  async #write({ batch, controller: { signal } }: Attempt): Promise<WriteOutcome> {
    const aborted = new Promise<never>((_, reject) => {
      signal.addEventListener("abort", () => reject(signal.reason as Error), { once: true });
    });
    const written = this.#deps.sink.write(batch, { signal, attempt: batch.attempts });
    const outcome = await Promise.race([written, aborted]);
    this.#deps.ledger.wrote(outcome);
    return outcome;
  }

  #succeed({ batch, startedAt }: Attempt, outcome: WriteOutcome): void {
    const { rows, bytes } = batch;
    this.#end(batch);
    this.recover();
    const durationMs = this.#deps.clock.elapsed() - startedAt;
    this.#drainRate.observe(rows, durationMs);
    this.#observer.written({ rows, bytes }, outcome, durationMs);
    this.#log.written(rows, outcome, durationMs);
  }

  #fail({ batch, startedAt, controller }: Attempt, fault: SinkError): void {
    const { queue, clock, random } = this.#deps;
    queue.putBack(batch);
    if (controller.signal.aborted) {
      this.#deps.logger.info(
        { rows: batch.rows, attempt: batch.attempts },
        "flush ended by the stop; its batch goes where the rest goes",
      );
      return;
    }
    this.#failures += 1;
    this.#log.failed();
    this.#observer.failed(fault.faultClass, clock.elapsed() - startedAt);
    this.#lastFault = fault;
    this.#failingSince ??= clock.now();
    const backoff = fault.faultClass === "schema" ? SCHEMA_BACKOFF : RETRY_BACKOFF;
    const retryInMs = backoffMs(this.#failures, backoff, random);
    this.#retryAt = clock.elapsed() + retryInMs;
    this.#deps.logger[fault.faultClass === "transient" ? "warn" : "error"](
      {
        faultClass: fault.faultClass,
        sqlstate: fault.code,
        reason: fault.message,
        rows: batch.rows,
        queuedRows: queue.rows,
        attempt: batch.attempts,
        retryInMs,
      },
      "flush failed; the batch is kept and tried again",
    );
  }

  /** Never rejects: what the buffer does not take is the oldest in the queue again. */
  async #relieve(batches: readonly Batch[], isDraining: boolean): Promise<void> {
    try {
      const isStored = await this.#store(batches);
      if (!isStored) {
        for (const batch of batches.toReversed()) {
          this.#deps.queue.putBack(batch);
        }
      }
      this.#bufferRetryAt = this.#deps.clock.elapsed() + this.#bufferPauseMs(isStored, isDraining);
    } catch (reason) {
      this.#bug = { reason };
    } finally {
      this.#isStoring = false;
      this.#deps.onEnd();
    }
  }

  #needsRelief(isDraining: boolean): boolean {
    const { buffer, queue, clock } = this.#deps;
    if (buffer === undefined || this.#isStoring || clock.elapsed() < this.#bufferRetryAt || !this.isOutage) {
      return false;
    }
    return isDraining || queue.fullness >= BUFFER_FULLNESS || queue.hasWaiters;
  }

  #bufferPauseMs(isStored: boolean, isDraining: boolean): number {
    if (!isStored) {
      return BUFFER_RETRY_MS;
    }
    return isDraining || this.#deps.queue.fullness >= BUFFER_FULLNESS ? 0 : BUFFER_GATHER_MS;
  }

  /** True when the batches are in the buffer, in one file, and out of the queue; else none is. */
  async #store(batches: readonly Batch[]): Promise<boolean> {
    const { buffer, ledger, queue } = this.#deps;
    if (buffer === undefined) {
      return false;
    }
    const joined = joinBatches(batches);
    const { rows } = joined;
    try {
      await buffer.store(joined);
    } catch (error) {
      // Once for each reason in an outage: a buffer that is full stays so for hours, and is tried every few seconds.
      const reason = messageOf(error);
      const level = reason === this.#bufferFault ? "debug" : "error";
      this.#bufferFault = reason;
      this.#deps.logger[level]({ reason, rows }, "buffer: cannot store; the batch stays in memory");
      return false;
    }
    this.#bufferFault = undefined;
    ledger.buffer(rows);
    for (const batch of batches) {
      this.#end(batch);
    }
    this.#log.buffered(rows, queue.rows);
    return true;
  }

  #end(batch: Batch): void {
    this.#deps.queue.release(batch);
    batch.settle();
  }
}
