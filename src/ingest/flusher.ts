/**
 * The Flusher: takes admitted events in and sees every one of them to its end, in batches, in the background;
 * it never judges an event and never speaks to PostgreSQL itself.
 */
import type { Logger } from "pino";
import type { Clock } from "../clock.js";
import { type EncodedBatch, type Sink, SinkError } from "../sink/sink.js";
import { type BackoffOptions, backoffMs } from "./backoff.js";
import type { AdmittedEvent, Batch } from "./batch.js";
import { DrainRate } from "./drain-rate.js";
import type { EventQueue } from "./event-queue.js";
import type { Ledger } from "./ledger.js";

/** Where batches rest on disk while the sink cannot take them. */
export interface BatchStore {
  /** Puts a batch on stable storage; rejects when it could not, and then has kept nothing. */
  store(batch: EncodedBatch): Promise<void>;
}

export interface FlusherOptions {
  /** How long an event waits for others before its batch is flushed, in milliseconds. */
  readonly flushIntervalMs: number;
  /** How long {@link Flusher.close} may take to drain, in milliseconds. */
  readonly shutdownTimeoutMs: number;
}

export interface FlusherDeps {
  readonly queue: EventQueue;
  readonly ledger: Ledger;
  readonly sink: Sink;
  /** undefined: nothing is written to disk, the queue alone bridges an outage. */
  readonly spool: BatchStore | undefined;
  readonly clock: Clock;
  readonly random: () => number;
  readonly logger: Logger;
  readonly options: FlusherOptions;
}

/** There is no room; the event was not taken. */
export class QueueFullError extends Error {
  override readonly name = "QueueFullError";
  /** When to try again, in milliseconds. */
  readonly retryAfterMs: number;

  constructor(retryAfterMs: number) {
    super("the queue is full");
    this.retryAfterMs = retryAfterMs;
  }
}

/** The service is stopping (or has not started); the event was not taken. */
export class IntakeClosedError extends Error {
  override readonly name = "IntakeClosedError";

  constructor() {
    super("the service is shutting down");
  }
}

/**
 * - `new` → `running` by start()
 * - `running` → `draining` by stopIntake() or close(): nothing more is taken in, what is queued is written
 * - `draining` → `closed` when the queue is empty, or at the deadline when the rest is in the spool or given up
 * - `new` → `closed` by stopIntake() or close()
 */
type FlusherState = "new" | "running" | "draining" | "closed";

/** One try of a batch at the sink. */
interface Attempt {
  readonly batch: Batch;
  readonly startedAt: number;
  readonly controller: AbortController;
}

/** A try that has taken this long counts as an outage, so that the spool may help before it fails. */
const SLOW_ATTEMPT_MS = 2_000;
/** Share of the queue's memory from which batches go to the spool during an outage. */
const SPOOL_FULLNESS = 0.5;
const SPOOL_RETRY_MS = 5_000;
const RESTART_BACKOFF: BackoffOptions = { firstMs: 100, maxMs: 10_000 };
const RETRY_BACKOFF: BackoffOptions = { firstMs: 100, maxMs: 30_000 };
/** Someone has to repair the schema first; asking often only fills the log. */
const SCHEMA_BACKOFF: BackoffOptions = { firstMs: 10_000, maxMs: 30_000, minMs: 1_000 };

/** The background job that writes events in bulk. One flush is in flight at a time. */
export class Flusher {
  readonly #queue: EventQueue;
  readonly #ledger: Ledger;
  readonly #sink: Sink;
  readonly #spool: BatchStore | undefined;
  readonly #clock: Clock;
  readonly #random: () => number;
  readonly #logger: Logger;
  readonly #options: FlusherOptions;
  readonly #drainRate = new DrainRate();

  #state: FlusherState = "new";
  #loop: Promise<void> = Promise.resolve();
  #wakeUp: (() => void) | undefined;
  #isWakePending = false;
  #nextTickAt = 0;

  #attempt: Attempt | undefined;
  #failures = 0;
  #lastFault: SinkError | undefined;
  #retryAt = 0;
  #spoolRetryAt = 0;
  #isPastDeadline = false;
  #loopFault: string | undefined;

  constructor(deps: FlusherDeps) {
    this.#queue = deps.queue;
    this.#ledger = deps.ledger;
    this.#sink = deps.sink;
    this.#spool = deps.spool;
    this.#clock = deps.clock;
    this.#random = deps.random;
    this.#logger = deps.logger;
    this.#options = deps.options;
  }

  /**
   * Takes an event. When this returns, the event is in the queue; await {@link Flusher.durable} of the returned
   * batch to know that it is on stable storage.
   *
   * @throws QueueFullError, IntakeClosedError
   */
  push(event: AdmittedEvent): Batch {
    // Check and append are one synchronous step: no drain can come in between.
    if (this.#state !== "running") {
      throw new IntakeClosedError();
    }
    const batch = this.#queue.append(event);
    if (batch === undefined) {
      this.#wake();
      throw new QueueFullError(this.retryAfterMs());
    }
    this.#ledger.accepted += 1;
    if (batch !== this.#queue.open) {
      this.#wake();
    }
    return batch;
  }

  /**
   * Resolves when a batch is on stable storage; rejects with BatchAbandonedError when the process ends before.
   * No timer delays it: the batch leaves with the next flush.
   */
  durable(batch: Batch): Promise<void> {
    const settled = batch.settled();
    // While a healthy flush is in flight its end wakes the loop; until then the arrivals form the next batch.
    if (this.#attempt === undefined || this.#failures > 0) {
      this.#wake();
    }
    return settled;
  }

  /** When a caller that is refused now should try again, in milliseconds. */
  retryAfterMs(): number {
    const untilRetryMs = this.#failures > 0 ? this.#retryAt - this.#clock.elapsed() : 0;
    return this.#drainRate.retryAfterMs(this.#queue.rows, untilRetryMs, this.#random);
  }

  /** Why the flush loop is not working; undefined when it is. A fault of the sink is not one of the loop. */
  fault(): string | undefined {
    return this.#loopFault;
  }

  /** The last fault of the sink, while batches fail; undefined when the last flush succeeded. */
  sinkFault(): SinkError | undefined {
    return this.#lastFault;
  }

  /** Rows in memory, those in flight included. */
  get queuedRows(): number {
    return this.#queue.rows;
  }

  /** Starts to flush in the background. */
  start(): void {
    if (this.#state !== "new") {
      return;
    }
    this.#state = "running";
    this.#nextTickAt = this.#clock.elapsed() + this.#options.flushIntervalMs;
    this.#loop = this.#supervise();
    this.#logger.info({ flushIntervalMs: this.#options.flushIntervalMs }, "flusher started");
  }

  /** Takes nothing more in from now on, and starts to drain; the time-out of the shutdown runs from here. */
  stopIntake(): void {
    if (this.#state === "new") {
      this.#state = "closed";
    }
    if (this.#state !== "running") {
      return;
    }
    this.#state = "draining";
    this.#logger.info({ rows: this.#queue.rows }, "flusher: cancel received, draining");
    this.#queue.seal();
    this.#failures = 0;
    this.#retryAt = 0;
    const cancel = this.#clock.schedule(this.#options.shutdownTimeoutMs, () => this.#passDeadline());
    this.#wake();
    this.#loop = this.#loop.then(() => this.#finish(cancel));
  }

  /**
   * Takes nothing more in, writes what is queued, and resolves when that is done or the deadline has passed.
   * Then {@link Flusher.queuedRows} is 0, or it is the number of events that could be put nowhere.
   */
  async close(): Promise<void> {
    this.stopIntake();
    await this.#loop;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  #passDeadline(): void {
    this.#isPastDeadline = true;
    this.#spoolRetryAt = 0;
    this.#attempt?.controller.abort(new Error("the deadline of the shutdown has passed"));
    this.#wake();
  }

  #finish(cancelDeadline: () => void): void {
    cancelDeadline();
    this.#state = "closed";
    const rows = this.#queue.rows;
    if (rows === 0) {
      this.#logger.info(this.#ledger.read(), "flusher: drained, done");
    } else {
      this.#logger.error({ rows, ...this.#ledger.read() }, "flusher: done, but events could be put nowhere");
    }
  }

  /** Keeps the loop alive whatever happens in it; all state is in fields, so a restart loses nothing. */
  async #supervise(): Promise<void> {
    for (let crashes = 1; ; crashes++) {
      try {
        await this.#run();
        return;
      } catch (error) {
        this.#loopFault = `the flush loop failed: ${error instanceof Error ? error.message : String(error)}`;
        this.#logger.error({ err: error, crashes }, "flusher: the flush loop failed and restarts");
        await this.#pause(backoffMs(crashes, RESTART_BACKOFF, this.#random));
      }
    }
  }

  async #run(): Promise<void> {
    while (this.#state === "running" || this.#queue.rows > 0) {
      if (await this.#relieve()) {
        continue;
      }
      if (this.#isPastDeadline && this.#attempt === undefined) {
        return this.#giveUp();
      }
      this.#beginAttempt();
      this.#loopFault = undefined;
      await this.#pause(this.#msUntilDue());
    }
  }

  /** Starts a try of the next batch that is due, when none is in flight. */
  #beginAttempt(): void {
    const now = this.#clock.elapsed();
    if (this.#attempt !== undefined || now < this.#retryAt) {
      return;
    }
    const batch = this.#nextDue(now);
    if (batch !== undefined) {
      this.#attempt = { batch, startedAt: now, controller: new AbortController() };
      void this.#try(this.#attempt);
    }
  }

  #nextDue(now: number): Batch | undefined {
    const isTick = now >= this.#nextTickAt;
    if (isTick) {
      this.#nextTickAt = now + this.#options.flushIntervalMs;
    }
    if (!this.#queue.hasSealed && (isTick || this.#queue.open.hasWaiters || this.#state === "draining")) {
      this.#queue.seal();
    }
    const batch = this.#queue.take();
    if (batch === undefined && isTick) {
      this.#logger.debug({ rows: 0 }, "flush: nothing queued");
    }
    return batch;
  }

  /** Never rejects: a failed try ends in {@link Flusher.#fail}. */
  async #try(attempt: Attempt): Promise<void> {
    const { batch, controller } = attempt;
    batch.attempts += 1;
    try {
      const outcome = await this.#sink.write(batch, { signal: controller.signal, attempt: batch.attempts });
      const durationMs = this.#clock.elapsed() - attempt.startedAt;
      const rows = batch.rows;
      this.#ledger.wrote(outcome);
      this.#end(batch);
      this.#succeed(rows, durationMs);
      this.#logger.info({ rows, durationMs: Math.round(durationMs), ...outcome }, "flush");
    } catch (error) {
      this.#fail(batch, error instanceof SinkError ? error : new SinkError("unknown", undefined, error));
    } finally {
      this.#attempt = undefined;
      this.#wake();
    }
  }

  #succeed(rows: number, durationMs: number): void {
    if (this.#lastFault !== undefined) {
      this.#logger.info({ afterFailures: this.#failures }, "flush: the database takes batches again");
    }
    this.#drainRate.observe(rows, durationMs);
    this.#failures = 0;
    this.#lastFault = undefined;
  }

  #fail(batch: Batch, fault: SinkError): void {
    this.#queue.putBack(batch);
    this.#failures += 1;
    this.#lastFault = fault;
    const backoff = fault.faultClass === "schema" ? SCHEMA_BACKOFF : RETRY_BACKOFF;
    const retryInMs = backoffMs(this.#failures, backoff, this.#random);
    this.#retryAt = this.#clock.elapsed() + retryInMs;
    const level = fault.faultClass === "transient" ? "warn" : "error";
    this.#logger[level](
      {
        faultClass: fault.faultClass,
        sqlstate: fault.sqlstate,
        reason: fault.message,
        rows: batch.rows,
        queuedRows: this.#queue.rows,
        attempt: batch.attempts,
        retryInMs,
      },
      "flush failed; the batch is kept and tried again",
    );
  }

  /**
   * During an outage, moves the oldest batch that is not in flight to the spool, if memory runs short, a caller
   * waits for durability, or the process is about to end. True when it made progress.
   */
  async #relieve(): Promise<boolean> {
    if (this.#spool === undefined || !this.#needsRelief()) {
      return false;
    }
    if (!this.#queue.hasSealed) {
      this.#queue.seal();
    }
    const batch = this.#queue.take();
    if (batch === undefined) {
      return false;
    }
    try {
      await this.#spool.store(batch);
    } catch (error) {
      this.#queue.putBack(batch);
      this.#spoolRetryAt = this.#clock.elapsed() + SPOOL_RETRY_MS;
      this.#logger.error({ err: error, rows: batch.rows }, "spool: cannot write; the batch stays in memory");
      return false;
    }
    this.#ledger.spooled += batch.rows;
    this.#logger.info(
      { rows: batch.rows, queuedRows: this.#queue.rows - batch.rows },
      "batch spooled to disk",
    );
    this.#end(batch);
    return true;
  }

  #needsRelief(): boolean {
    const now = this.#clock.elapsed();
    if (now < this.#spoolRetryAt || !this.#isOutage(now)) {
      return false;
    }
    return this.#state === "draining" || this.#queue.fullness >= SPOOL_FULLNESS || this.#queue.hasWaiters;
  }

  #isOutage(now: number): boolean {
    const slow = this.#attempt !== undefined && now - this.#attempt.startedAt >= SLOW_ATTEMPT_MS;
    return this.#failures > 0 || slow || this.#isPastDeadline;
  }

  /** The deadline has passed and there is no spool, or it cannot be written. */
  #giveUp(): void {
    for (let batch = this.#queue.take(); batch !== undefined; batch = this.#queue.take()) {
      batch.abandon();
    }
  }

  #end(batch: Batch): void {
    this.#queue.release(batch);
    batch.settle();
  }

  /** Milliseconds until something is to be done that no wake-up announces. */
  #msUntilDue(): number {
    const now = this.#clock.elapsed();
    const due = [this.#nextTickAt];
    if (this.#queue.rows > 0) {
      due.push(this.#retryAt, this.#spoolRetryAt);
    }
    if (this.#attempt !== undefined) {
      due.push(this.#attempt.startedAt + SLOW_ATTEMPT_MS);
    }
    const next = Math.min(...due.filter((at) => at > now));
    return Number.isFinite(next) ? next - now : this.#options.flushIntervalMs;
  }

  #wake(): void {
    this.#isWakePending = true;
    this.#wakeUp?.();
  }

  /** Waits until {@link Flusher.#wake} is called, now or earlier, or `ms` have passed. */
  async #pause(ms: number): Promise<void> {
    if (!this.#isWakePending) {
      await new Promise<void>((resolve) => {
        const cancel = this.#clock.schedule(ms, resolve);
        this.#wakeUp = () => {
          cancel();
          resolve();
        };
      });
      this.#wakeUp = undefined;
    }
    this.#isWakePending = false;
  }
}
