/**
 * The Flusher: takes admitted events in and sees every one of them to its end, in batches, in the background;
 * it never judges an event and never speaks to PostgreSQL itself.
 */
import type { Logger } from "pino";
import type { SinkError } from "../sink/sink.js";
import type { Clock } from "../util/clock.js";
import { type NextStep, SupervisedLoop } from "../util/supervised-loop.js";
import { Waker } from "../util/waker.js";
import type { AdmittedEvent, Batch, BatchWaiter } from "./batch.js";
import { Delivery, type DeliveryDeps } from "./delivery.js";
import type { EventQueue } from "./event-queue.js";
import type { Ledger } from "./ledger.js";
import { FairShareError, IntakeClosedError, QueueFullError, TooManyEventsError } from "./refusal.js";

export interface FlusherOptions {
  /** How long an event waits for others before its batch is flushed, in milliseconds. */
  readonly flushIntervalMs: number;
  /** How long {@link Flusher.close} may take to drain, in milliseconds. */
  readonly shutdownTimeoutMs: number;
}

export interface FlusherDeps extends Omit<DeliveryDeps, "onEnd"> {
  readonly options: FlusherOptions;
}

/**
 * - `new` → `running` by start()
 * - `running` → `draining` by stopIntake() or close(): nothing more is taken in, what is queued is written
 * - `draining` → `closed` when the queue is empty, or at the deadline when the rest is in the buffer or given up
 * - `new` → `closed` by stopIntake() or close()
 */
type FlusherState = "new" | "running" | "draining" | "closed";

/** The background job that writes events in bulk. One flush is in flight at a time. */
export class Flusher {
  readonly #queue: EventQueue;
  readonly #ledger: Ledger;
  readonly #clock: Clock;
  readonly #logger: Logger;
  readonly #options: FlusherOptions;
  readonly #delivery: Delivery;
  readonly #waker: Waker;

  #state: FlusherState = "new";
  readonly #loop: SupervisedLoop;
  #running: Promise<void> = Promise.resolve();
  #nextTickAt = 0;
  #isPastDeadline = false;
  #drainBeganAt: number | undefined;
  #drainEndedAt: number | undefined;

  constructor(deps: FlusherDeps) {
    const waker = new Waker(deps.clock);
    this.#queue = deps.queue;
    this.#ledger = deps.ledger;
    this.#clock = deps.clock;
    this.#logger = deps.logger;
    this.#options = deps.options;
    this.#delivery = new Delivery({ ...deps, onEnd: () => waker.wake() });
    this.#waker = waker;
    this.#loop = new SupervisedLoop({
      name: "the flush loop",
      step: () => this.#step(),
      waker,
      logger: deps.logger,
    });
  }

  /**
   * Takes an event. When this returns, the event is in the queue; {@link Flusher.awaitDurable} tells when
   * the returned batch is on stable storage. Callers that have a name share the room fairly.
   *
   * @throws QueueFullError, FairShareError, IntakeClosedError
   */
  push(event: AdmittedEvent, caller?: string): Batch {
    // Check and append are one synchronous step: no drain can come in between.
    if (this.#state !== "running") {
      throw new IntakeClosedError();
    }
    if (caller !== undefined && !this.#queue.allows(caller)) {
      throw this.#refusal(FairShareError);
    }
    const batch = this.#queue.append(event, caller);
    if (batch === undefined) {
      throw this.#refusal(QueueFullError);
    }
    this.#ledger.accepted += 1;
    if (batch !== this.#queue.open) {
      this.#waker.wake();
    }
    return batch;
  }

  /**
   * Sees to it that the next `rows` pushes of the caller, before anything else happens, find room.
   *
   * @throws TooManyEventsError, QueueFullError, FairShareError, IntakeClosedError
   */
  requireRoom(rows: number, caller?: string): void {
    if (this.#state !== "running") {
      throw new IntakeClosedError();
    }
    const fits = this.#queue.hasRoomFor(rows);
    if (fits && (caller === undefined || this.#queue.allowsMany(rows, caller))) {
      return;
    }
    if (!this.#queue.couldHold(rows, caller)) {
      throw new TooManyEventsError(rows);
    }
    throw this.#refusal(fits ? FairShareError : QueueFullError);
  }

  /**
   * Tells `waiter` when a batch is on stable storage, or that the process ends before. No timer delays it: the batch
   * leaves with the next flush. Who gives up calls {@link Batch.forget}.
   */
  awaitDurable(batch: Batch, waiter: BatchWaiter): void {
    batch.wait(waiter);
    // While a healthy flush is in flight its end wakes the loop; until then the arrivals form the next batch.
    if (!this.#delivery.isBusy || this.#delivery.isOutage) {
      this.#waker.wake();
    }
  }

  /** When a caller that is refused now should try again, in milliseconds. */
  retryAfterMs(): number {
    return this.#delivery.retryAfterMs();
  }

  /** Why the flush loop is not working; undefined when it is. A fault of the sink is not one of the loop. */
  fault(): string | undefined {
    return this.#loop.fault;
  }

  /** The last fault of the sink, while batches fail; undefined when the last flush succeeded. */
  sinkFault(): SinkError | undefined {
    return this.#delivery.fault;
  }

  /** When batches began to fail, in Unix milliseconds; undefined when the last flush succeeded. */
  failingSince(): number | undefined {
    return this.#delivery.failingSince;
  }

  /** When the sink last took a batch, of the queue or of the buffer, in Unix milliseconds; undefined before the first. */
  lastFlushAt(): number | undefined {
    return this.#delivery.lastSuccessAt;
  }

  /** Says that the sink took a batch of someone else's: what failed here is worth another try at once. */
  sinkWorks(): void {
    const hasFailed = this.#delivery.fault !== undefined;
    this.#delivery.recover();
    if (hasFailed) {
      this.#waker.wake();
    }
  }

  /** Says that what failed is worth another try at once. */
  retry(): void {
    this.#delivery.forgive();
    this.#waker.wake();
  }

  /** Rows in memory, those in flight included. */
  get queuedRows(): number {
    return this.#queue.rows;
  }

  /** How long the drain has been going on, or took, in milliseconds; undefined before it. */
  get drainMs(): number | undefined {
    const beganAt = this.#drainBeganAt;
    return beganAt === undefined ? undefined : (this.#drainEndedAt ?? this.#clock.elapsed()) - beganAt;
  }

  /** Starts to flush in the background. */
  start(): void {
    if (this.#state !== "new") {
      return;
    }
    this.#state = "running";
    this.#nextTickAt = this.#clock.elapsed() + this.#options.flushIntervalMs;
    this.#running = this.#loop.run();
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
    this.#drainBeganAt = this.#clock.elapsed();
    this.#logger.info({ rows: this.#queue.rows }, "flusher: cancel received, draining");
    this.#queue.seal();
    this.#delivery.forgive();
    const cancel = this.#clock.schedule(this.#options.shutdownTimeoutMs, () => {
      this.#isPastDeadline = true;
      this.#delivery.abort("the deadline of the shutdown has passed");
      this.#waker.wake();
    });
    this.#waker.wake();
    this.#running = this.#running.then(() => this.#finish(cancel));
  }

  /**
   * Takes nothing more in, writes what is queued, and resolves when that is done or the deadline has passed.
   * Then {@link Flusher.queuedRows} is 0, or it is the number of events that could be put nowhere.
   */
  async close(): Promise<void> {
    this.stopIntake();
    await this.#running;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  #finish(cancelDeadline: () => void): void {
    cancelDeadline();
    this.#delivery.close();
    this.#state = "closed";
    this.#drainEndedAt = this.#clock.elapsed();
    const rows = this.#queue.rows;
    if (rows === 0) {
      this.#logger.info(this.#ledger.read(), "flusher: drained, done");
    } else {
      this.#logger.error({ rows, ...this.#ledger.read() }, "flusher: done, but events could be put nowhere");
    }
  }

  /** All state is in fields, so a step that threw can be repeated and nothing is lost. */
  async #step(): Promise<NextStep> {
    if (this.#state !== "running" && this.#queue.rows === 0) {
      return "end";
    }
    this.#delivery.throwBug();
    if (this.#isPastDeadline) {
      if (this.#delivery.isIdle) {
        await this.#delivery.saveRest();
        return "end";
      }
    } else {
      // First, for if the buffer always came first and could take everything, the sink would not be tried again.
      this.#delivery.begin(() => this.#nextDue());
      this.#delivery.beginRelief(this.#state === "draining");
    }
    return { waitMs: this.#msUntilDue() };
  }

  #nextDue(): Batch | undefined {
    const now = this.#clock.elapsed();
    // Behind a backlog the open batch goes on filling; a tick that it misses stays due.
    const isTick = now >= this.#nextTickAt && !this.#queue.hasSealed;
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

  /** The open batch may fill the memory before it has its rows: then it leaves without them. */
  #refusal(Refusal: new (retryAfterMs: number) => QueueFullError): QueueFullError {
    if (!this.#queue.hasSealed) {
      this.#queue.seal();
      this.#waker.wake();
    }
    return new Refusal(this.retryAfterMs());
  }

  /** Milliseconds until something is to be done that no wake-up announces. */
  #msUntilDue(): number {
    const now = this.#clock.elapsed();
    const later = [this.#nextTickAt, ...this.#delivery.dueTimes()].filter((at) => at > now);
    return later.length === 0 ? this.#options.flushIntervalMs : Math.min(...later) - now;
  }
}
