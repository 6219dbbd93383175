/**
 * The background job that writes what is in the buffer to the sink, oldest first, beside live traffic; it never
 * puts anything into the buffer, and takes nothing out before the sink has it.
 */
import type { Logger } from "pino";
import type { BatchBuffer, BufferedBatch } from "../buffer/buffer.js";
import type { EncodedBatch } from "../event/tuple-codec.js";
import { type Sink, SinkError } from "../sink/sink.js";
import { type BackoffOptions, backoffMs, SCHEMA_BACKOFF } from "../util/backoff.js";
import type { Clock } from "../util/clock.js";
import { type NextStep, SupervisedLoop } from "../util/supervised-loop.js";
import { Waker } from "../util/waker.js";
import { type FlushObserver, UNOBSERVED } from "./flush-log.js";
import type { Ledger } from "./ledger.js";

/** Where the batches come from. */
export type BatchSource<B extends BufferedBatch> = Pick<
  BatchBuffer<B>,
  "oldest" | "read" | "remove" | "pause" | "onAvailable"
>;

/** What live traffic, which goes to the same sink, knows of it. */
export interface LiveTraffic {
  /** Undefined when the last batch was written. */
  sinkFault(): unknown;
  /** Rows that it still has to write. While there are any, it keeps trying. */
  readonly queuedRows: number;
  /** Hears that the sink took a batch. */
  sinkWorks(): void;
}

export interface BufferReplayDeps<B extends BufferedBatch = BufferedBatch> {
  readonly buffer: BatchSource<B>;
  readonly sink: Sink;
  readonly ledger: Ledger;
  readonly liveTraffic: LiveTraffic;
  readonly clock: Clock;
  readonly random: () => number;
  readonly logger: Logger;
  /** Default: nobody watches. */
  readonly observer?: FlushObserver | undefined;
}

/** How often live traffic is asked whether the sink is back, while that is what we wait for. */
const LOOK_MS = 1_000;
const RETRY_BACKOFF: BackoffOptions = { firstMs: 200, maxMs: 30_000, minMs: 100 };

/**
 * Replays the buffer, one batch at a time. `new` → `running` by start(); → `closed`, for good, by close().
 *
 * While the sink fails it tries with backoff, and not at all while live traffic is trying already.
 */
export class BufferReplay<B extends BufferedBatch = BufferedBatch> {
  readonly #deps: BufferReplayDeps<B>;
  readonly #observer: FlushObserver;

  #state: "new" | "running" | "closed" = "new";
  readonly #loop: SupervisedLoop;
  #running: Promise<void> = Promise.resolve();
  readonly #abort = new AbortController();
  readonly #waker: Waker;

  /** The batch that was tried last, and how often. */
  #tried: B | undefined;
  #attempts = 0;
  #failures = 0;
  /** What the last try failed with; undefined when it did not. */
  #sinkFault: SinkError | undefined;
  #failingSince: number | undefined;
  #retryAt = 0;
  #hasLiveFault = false;
  /** Since the buffer was empty the last time. */
  #replayed = { batches: 0, rows: 0 };

  constructor(deps: BufferReplayDeps<B>) {
    this.#deps = deps;
    this.#observer = deps.observer ?? UNOBSERVED;
    this.#waker = new Waker(deps.clock);
    this.#loop = new SupervisedLoop({
      name: "the replay of the buffer",
      step: () => this.#step(),
      waker: this.#waker,
      logger: deps.logger,
    });
  }

  /** Why the replay is not working; undefined when it is. A fault of the sink is not one of the replay. */
  fault(): string | undefined {
    return this.#loop.fault;
  }

  /** Why what is in the buffer is not replayed; undefined when the last batch was, or none has been tried. */
  sinkFault(): SinkError | undefined {
    return this.#sinkFault;
  }

  /** When that began, in Unix milliseconds. */
  failingSince(): number | undefined {
    return this.#sinkFault && this.#failingSince;
  }

  /** Starts to replay in the background. */
  start(): void {
    if (this.#state !== "new") {
      return;
    }
    this.#state = "running";
    this.#deps.buffer.onAvailable(() => this.#waker.wake());
    this.#running = this.#loop.run();
  }

  /**
   * Ends at once: what the sink is writing is aborted and stays in the buffer, which is safe whether or not it was
   * written. Resolves when nothing is in flight any more: a disk that hangs is given its time.
   */
  async close(): Promise<void> {
    if (this.#state === "running") {
      this.#deps.buffer.onAvailable(undefined);
    }
    this.#state = "closed";
    this.#abort.abort(new Error("the replay of the buffer is ending"));
    this.#waker.wake();
    await this.#running;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  /** Replays one batch, or says how long to wait for a reason to. */
  async #step(): Promise<NextStep> {
    if (this.#state !== "running") {
      return "end";
    }
    const waitMs = this.#msUntilDue();
    if (waitMs > 0) {
      this.#deps.buffer.pause();
      return { waitMs: Math.min(waitMs, LOOK_MS) };
    }
    const batch = this.#deps.buffer.oldest();
    if (batch === undefined) {
      this.#reportEmpty();
      return {};
    }
    await this.#replay(batch);
    return "again";
  }

  #msUntilDue(): number {
    const { liveTraffic, clock } = this.#deps;
    const hadLiveFault = this.#hasLiveFault;
    this.#hasLiveFault = liveTraffic.sinkFault() !== undefined;
    if (hadLiveFault && !this.#hasLiveFault) {
      this.#retryAt = 0;
    }
    // With nothing left to write, live traffic tries no more; then it is on us to find out.
    if (this.#hasLiveFault && liveTraffic.queuedRows > 0) {
      return LOOK_MS;
    }
    return this.#retryAt - clock.elapsed();
  }

  async #replay(batch: B): Promise<void> {
    const { buffer, sink, ledger, clock, logger } = this.#deps;
    const startedAt = clock.elapsed();
    const encoded = await this.#read(batch, startedAt);
    if (encoded === undefined || this.#state !== "running") {
      return;
    }
    this.#attempts = batch === this.#tried ? this.#attempts + 1 : (batch.deliveries ?? 1);
    this.#tried = batch;
    let outcome: Awaited<ReturnType<Sink["write"]>>;
    try {
      outcome = await sink.write(encoded, { signal: this.#abort.signal, attempt: this.#attempts });
    } catch (error) {
      this.#fail(batch, SinkError.of(error), startedAt);
      return;
    }
    ledger.replay(batch.rows, outcome);
    this.#observer.written(encoded, outcome, clock.elapsed() - startedAt);
    await buffer.remove(batch);
    this.#failures = 0;
    this.#sinkFault = undefined;
    this.#retryAt = 0;
    this.#deps.liveTraffic.sinkWorks();
    this.#replayed.batches += 1;
    this.#replayed.rows += batch.rows;
    const durationMs = Math.round(clock.elapsed() - startedAt);
    logger.debug({ batch: batch.name, rows: batch.rows, durationMs, ...outcome }, "buffer: batch replayed");
  }

  /** Undefined when there is nothing to write, now or ever; that is booked then. */
  async #read(batch: B, startedAt: number): Promise<EncodedBatch | undefined> {
    const { buffer, ledger } = this.#deps;
    try {
      const encoded = await buffer.read(batch);
      if (encoded === undefined) {
        ledger.putAside(batch.rows);
        this.#sinkFault = undefined;
      }
      return encoded;
    } catch (error) {
      this.#fail(batch, new SinkError("transient", undefined, error), startedAt);
      return undefined;
    }
  }

  #fail(batch: B, fault: SinkError, startedAt: number): void {
    if (this.#state !== "running") {
      return;
    }
    const { clock, random, logger } = this.#deps;
    this.#failures += 1;
    this.#failingSince = this.#sinkFault === undefined ? clock.now() : this.#failingSince;
    this.#sinkFault = fault;
    const backoff = fault.faultClass === "schema" ? SCHEMA_BACKOFF : RETRY_BACKOFF;
    const retryInMs = backoffMs(this.#failures, backoff, random);
    this.#retryAt = clock.elapsed() + retryInMs;
    this.#observer.failed(fault.faultClass, clock.elapsed() - startedAt);
    const level = fault.faultClass === "transient" ? "warn" : "error";
    logger[level](
      {
        faultClass: fault.faultClass,
        sqlstate: fault.code,
        reason: fault.message,
        batch: batch.name,
        rows: batch.rows,
        attempt: this.#attempts,
        retryInMs,
      },
      "buffer: a batch could not be replayed; it is kept and tried again",
    );
  }

  #reportEmpty(): void {
    if (this.#replayed.batches > 0) {
      this.#deps.logger.info(this.#replayed, "buffer: all of it is replayed");
      this.#replayed = { batches: 0, rows: 0 };
    }
  }
}
