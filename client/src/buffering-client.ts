/**
 * Takes events at once and keeps each until the service has acknowledged or rejected it; it keeps the books, and never
 * sends by itself (batch-sender.ts does).
 */
// So that the declarations need no library that a project has not got: `await using` is younger than ES2022.
/// <reference lib="esnext.disposable" preserve="true" />
import { EventIds } from "../../src/event/event-id.js";
import { formatUuid, ID_BYTES } from "../../src/event/uuid.js";
import { backgroundClock, type Clock, systemClock } from "../../src/util/clock.js";
import { type BatchPusher, BatchSender } from "./batch-sender.js";
import {
  describeViolations,
  EVENT_MAX_BYTES,
  eventBytes,
  eventViolations,
  type StatsEvent,
} from "./event.js";
import { type EventBatch, EventBuffer } from "./event-buffer.js";
import type { Host } from "./host.js";
import { Listeners } from "./listeners.js";
import { type BufferingOptions, soundNumbers, soundTimeout, type WaitOptions } from "./options.js";
import type { Verdict } from "./verdict.js";
import { Waits } from "./waits.js";

/** Where events are. At every moment `pushed = acknowledged + rejected + buffered`. */
export interface BufferingCounters {
  /** Taken by `push`, or rejected by it at once. */
  readonly pushed: number;
  readonly acknowledged: number;
  /** Dropped, since they can never be accepted. */
  readonly rejected: number;
  /** In the buffer, those in flight included. */
  readonly buffered: number;
  /** Not taken by `push`, since the buffer was full or closed. */
  readonly refused: number;
  /** Events sent once more, counted each time. */
  readonly retried: number;
}

/** Not all events were acknowledged in time. They are still in the buffer. */
export class UndeliveredError extends Error {
  override readonly name = "UndeliveredError";
  readonly undelivered: number;

  constructor(undelivered: number) {
    super(`events that are not acknowledged yet: ${undelivered}`);
    this.undelivered = undelivered;
  }
}

export interface BufferingDeps {
  readonly pusher: BatchPusher;
  /** Default: the machine's. */
  readonly clock?: Clock | undefined;
  /** Gives numbers in [0, 1), for the jitter. Default: `Math.random`. */
  readonly random?: (() => number) | undefined;
  /** Default: none, which never ends and shows nothing. */
  readonly host?: Host | undefined;
}

const FLUSH_TIMEOUT_MS = 30_000;
const CLOSE_TIMEOUT_MS = 10_000;
/** How long a program that is done is kept for its events: long enough for a few tries. */
const FINISH_TIMEOUT_MS = 3_000;

const NO_HOST: Host = { watchEnd: () => () => undefined, warn: () => undefined };

/** Open from the start until `close()`. */
export class BufferingClient implements AsyncDisposable {
  readonly #batchAgeMs: number;
  /** For what goes on by itself; its timers do not keep a process alive, those of the waits do. */
  readonly #clock: Clock;
  readonly #ids: EventIds;
  readonly #id = new Uint8Array(ID_BYTES);
  readonly #buffer: EventBuffer;
  readonly #sender: BatchSender;
  readonly #waits: Waits;
  readonly #listeners: Listeners;
  readonly #host: Host;
  /** There while there are events to care for. */
  #unwatchEnd: (() => void) | undefined;
  readonly #ending = { leave: () => this.#leave(), finish: () => void this.#finish() };
  #isFinishing = false;
  readonly #counts = { pushed: 0, acknowledged: 0, rejected: 0, refused: 0, retried: 0 };
  /** The last of those who wait for room. */
  #roomTurn: Promise<void> = Promise.resolve();
  #cancelRelease: (() => void) | undefined;
  #closing: Promise<{ undelivered: number }> | undefined;

  /** @throws TypeError when an option does not exist or cannot be used */
  constructor(deps: BufferingDeps, options: BufferingOptions = {}) {
    const { pusher, clock, random = Math.random, host = NO_HOST } = deps;
    const numbers = soundNumbers(options);
    this.#batchAgeMs = numbers.batchAgeMs;
    this.#clock = clock ?? backgroundClock;
    this.#ids = new EventIds({ now: () => this.#clock.now() });
    this.#buffer = new EventBuffer(numbers);
    this.#waits = new Waits(clock ?? systemClock);
    this.#listeners = new Listeners({ options, warn: (text) => host.warn(text) });
    this.#host = host;
    this.#sender = new BatchSender({
      pusher,
      buffer: this.#buffer,
      clock: this.#clock,
      random,
      ack: options.ack ?? "queued",
      maxCalls: numbers.maxCalls,
      callTimeoutMs: numbers.callTimeoutMs,
      onVerdict: (batch, verdict, pauseMs) => this.#settle(batch, verdict, pauseMs),
    });
  }

  get counters(): BufferingCounters {
    return { ...this.#counts, buffered: this.#buffer.events };
  }

  /**
   * Takes an event, to be sent soon; changes to the object have no effect after it. Never throws. False when the event was
   * not taken: the buffer is full or closed (counted in `refused`), or the event is not sound (counted in `rejected`, and
   * told to `onRejected`).
   */
  push(event: StatsEvent): boolean {
    if (this.#closing !== undefined) {
      this.#counts.refused += 1;
      return false;
    }
    const violations = eventViolations(event);
    if (violations.length > 0) {
      this.#counts.pushed += 1;
      this.#counts.rejected += 1;
      const message = describeViolations(violations);
      this.#listeners.rejected({ event, reason: "INVALID", message, violations });
      return false;
    }
    const bytes = eventBytes(event);
    if (!this.#buffer.hasRoom(bytes)) {
      this.#counts.refused += 1;
      return false;
    }
    this.#counts.pushed += 1;
    const { property, section, item, eventId = this.#newEventId() } = event;
    this.#buffer.add({ source: event, property, section, item, eventId, bytes, order: this.#counts.pushed });
    this.#unwatchEnd ??= this.#host.watchEnd(this.#ending);
    this.#sender.send();
    this.#releaseInTime();
    return true;
  }

  /**
   * Resolves when `push` has room for an event, however long that takes; also when the client is closed. Of several who
   * wait, each finds the room that those before it have left, if they push as soon as it resolves.
   */
  whenRoom(): Promise<void> {
    const hasRoom = () => this.#closing !== undefined || this.#buffer.hasRoom(EVENT_MAX_BYTES);
    const turn = this.#roomTurn.then(async () => {
      await this.#waits.until(hasRoom, Number.POSITIVE_INFINITY);
    });
    this.#roomTurn = turn;
    return turn;
  }

  /**
   * Sends without delay what is buffered. Resolves when each event that was pushed before has been acknowledged or
   * rejected. The pauses between tries are kept.
   *
   * @throws UndeliveredError after `timeoutMs` (default: 30,000), or when the client ends before
   */
  async flush(options: WaitOptions = {}): Promise<void> {
    if (!(await this.#settled(soundTimeout(options, FLUSH_TIMEOUT_MS)))) {
      throw new UndeliveredError(this.#buffer.events);
    }
  }

  /**
   * Takes no more events, sends what is buffered, and ends. Never rejects; safe twice. After `timeoutMs` (default: 10,000)
   * it gives up the calls in flight. Resolves with the number of events that were not acknowledged; some may have been
   * recorded all the same, by a call whose answer did not come.
   *
   * @throws TypeError at once, when an option does not exist or cannot be used
   */
  close(options: WaitOptions = {}): Promise<{ undelivered: number }> {
    const timeoutMs = soundTimeout(options, CLOSE_TIMEOUT_MS);
    this.#closing ??= this.#end(timeoutMs);
    // For those who wait for room.
    this.#waits.check();
    return this.#closing;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  async #end(timeoutMs: number): Promise<{ undelivered: number }> {
    await this.#settled(timeoutMs);
    await this.#sender.close();
    this.#waits.end();
    this.#ignoreEnd();
    return { undelivered: this.#buffer.events };
  }

  /** The page may be gone at any moment. If it lives on, so does all else here. */
  #leave(): void {
    this.#cancelReleasing();
    this.#buffer.release();
    this.#sender.sendBeforeEnd();
  }

  /** The program is done but for its events: they keep it alive for a moment, and no longer. */
  async #finish(): Promise<void> {
    if (this.#isFinishing || this.#closing !== undefined) {
      return;
    }
    this.#isFinishing = true;
    const isDone = await this.#settled(FINISH_TIMEOUT_MS);
    this.#isFinishing = false;
    if (!isDone) {
      this.#listeners.lost(this.#buffer.events);
      await this.close({ timeoutMs: 0 });
    }
  }

  #ignoreEnd(): void {
    this.#unwatchEnd?.();
    this.#unwatchEnd = undefined;
  }

  /** Resolves with true when all that was pushed before has left the buffer; with false if that takes too long. */
  #settled(timeoutMs: number): Promise<boolean> {
    this.#release();
    const through = this.#counts.pushed;
    return this.#waits.until(() => this.#buffer.oldest() > through, timeoutMs);
  }

  #newEventId(): string {
    this.#ids.next(this.#id);
    return formatUuid(this.#id);
  }

  #releaseInTime(): void {
    if (this.#buffer.hasUnreleased) {
      this.#cancelRelease ??= this.#clock.schedule(this.#batchAgeMs, () => this.#release());
    } else {
      this.#cancelReleasing();
    }
  }

  #release(): void {
    this.#cancelReleasing();
    this.#buffer.release();
    this.#sender.send();
  }

  #cancelReleasing(): void {
    this.#cancelRelease?.();
    this.#cancelRelease = undefined;
  }

  /** Does what the verdict says: the books first, for those who are told look at them. */
  #settle(batch: EventBatch, verdict: Verdict, pauseMs: number): void {
    const { acknowledged, rejected, again, error, pace } = verdict;
    this.#buffer.land(batch, again);
    this.#counts.acknowledged += acknowledged.length;
    const events = again.reduce((total, { length }) => total + length, 0);
    this.#counts.rejected += rejected.length;
    this.#counts.retried += events;
    for (const { event, ...why } of rejected) {
      this.#listeners.rejected({ event: event.source, ...why });
    }
    if (acknowledged.length > 0) {
      this.#listeners.acknowledged(acknowledged.map(({ source }) => source));
    }
    if (error !== undefined) {
      const severity = this.#isFinishing ? "ending" : pace === "slow" ? "lasting" : "passing";
      this.#listeners.failed({ error, events, retryInMs: pauseMs }, severity);
    }
    if (this.#buffer.events === 0) {
      this.#ignoreEnd();
    }
    this.#waits.check();
  }
}
