/** Sends batches, a few calls at a time, and paces itself by what comes of them; it never keeps the books. */
import { ConnectError } from "@connectrpc/connect";
import { AckMode, type PushBatchResponse } from "../../gen/stats/v1/stats_pb.js";
import { type BackoffOptions, backoffMs } from "../../src/util/backoff.js";
import type { Clock } from "../../src/util/clock.js";
import { bytesOf, type EventBatch, type EventBuffer } from "./event-buffer.js";
import { judgeError, judgeResponse, NOTHING_SETTLED, type Verdict } from "./verdict.js";

/** The one method of the service that is needed. */
export interface BatchPusher {
  /** Rejects when `signal` aborts or `timeoutMs` are over. With `keepalive` the call outlives the page that makes it. */
  pushBatch(
    request: { events: { property: string; section: number; item: number; eventId: string }[]; ack: AckMode },
    options: { signal: AbortSignal; timeoutMs: number; keepalive: boolean },
  ): Promise<PushBatchResponse>;
}

export interface BatchSenderDeps {
  readonly pusher: BatchPusher;
  readonly buffer: EventBuffer;
  /** Its timers need not keep a process alive. */
  readonly clock: Clock;
  /** Gives numbers in [0, 1), for the jitter. */
  readonly random: () => number;
  readonly ack: "queued" | "durable";
  readonly maxCalls: number;
  readonly callTimeoutMs: number;
  /** Takes what has come of a call; the next one is made `pauseMs` after it. */
  readonly onVerdict: (batch: EventBatch, verdict: Verdict, pauseMs: number) => void;
}

const BACKOFF: BackoffOptions = { firstMs: 100, maxMs: 10_000, minMs: 10 };
/**
 * Of calls that outlive their page browsers take 64 KiB at a time, of all scripts of the page together; more than that fails.
 * Source: https://fetch.spec.whatwg.org/#http-network-or-cache-fetch
 */
const KEPT_MAX_BYTES = 60 * 1024;

interface Call {
  readonly batch: EventBatch;
  readonly controller: AbortController;
  /** It outlives the page. */
  readonly isKept: boolean;
  /** Its events have been sent again by another call, and belong to that. */
  isReplaced: boolean;
}

/** While a person has to mend something: a token, an address. */
const SLOW_BACKOFF: BackoffOptions = { firstMs: 5_000, maxMs: 30_000, minMs: 1_000 };

/** Works whenever it is told that there may be something to send, until it is closed. */
export class BatchSender {
  readonly #deps: BatchSenderDeps;
  /** Those whose answer is waited for. */
  readonly #calls = new Set<Call>();
  /** Resolve when a call has ended, a replaced one included. */
  readonly #ends = new Set<Promise<void>>();
  #isClosed = false;
  /** Rounds in a row that left something to send again. */
  #failures = 0;
  /** Calls that were in flight together are one round, and so one failure: they met the same trouble. */
  #round = 0;
  /** On the clock's `elapsed()`. */
  #pausedUntil = 0;
  #cancelPause: (() => void) | undefined;

  constructor(deps: BatchSenderDeps) {
    this.#deps = deps;
  }

  /** Makes the calls that may be made now. */
  send(): void {
    while (this.#mayCall()) {
      const batch = this.#deps.buffer.take();
      if (batch === undefined) {
        return;
      }
      this.#start(batch, false);
    }
  }

  /**
   * For a page that may be gone at any moment: sends all that there is by calls that outlive it, as much as browsers take of
   * such. What is in flight goes again, with its ids, since its call ends with the page. Neither pauses nor `maxCalls` hold.
   */
  sendBeforeEnd(): void {
    if (this.#isClosed) {
      return;
    }
    // Newest first: each goes before those that are to be sent again already.
    for (const call of [...this.#calls].filter(({ isKept }) => !isKept).reverse()) {
      this.#replace(call);
    }
    let room = [...this.#calls].reduce((left, { batch }) => left - bytesOf(batch), KEPT_MAX_BYTES);
    for (
      let batch = this.#deps.buffer.take(room);
      batch !== undefined;
      batch = this.#deps.buffer.take(room)
    ) {
      room -= bytesOf(batch);
      this.#start(batch, true);
    }
    // The page may live on; what found no room goes by usual calls.
    this.send();
  }

  /** Gives up the calls in flight; resolves when they have ended. Safe twice. */
  async close(): Promise<void> {
    this.#isClosed = true;
    this.#cancelPause?.();
    for (const { controller } of this.#calls) {
      controller.abort();
    }
    await Promise.all(this.#ends);
  }

  #mayCall(): boolean {
    const isPaused = this.#deps.clock.elapsed() < this.#pausedUntil;
    return this.#calls.size < this.#deps.maxCalls && !isPaused && !this.#isClosed;
  }

  #start(batch: EventBatch, isKept: boolean): void {
    const call: Call = { batch, controller: new AbortController(), isKept, isReplaced: false };
    this.#calls.add(call);
    const end = this.#make(call).finally(() => {
      this.#calls.delete(call);
      this.#ends.delete(end);
      this.send();
    });
    this.#ends.add(end);
  }

  /** Ends a call whose events are to be sent by another. */
  #replace(call: Call): void {
    const { batch, controller } = call;
    call.isReplaced = true;
    this.#calls.delete(call);
    this.#deps.onVerdict(batch, { ...NOTHING_SETTLED, again: [batch] }, 0);
    controller.abort();
  }

  async #make(call: Call): Promise<void> {
    const { batch, controller, isKept } = call;
    const { pusher, ack, callTimeoutMs } = this.#deps;
    const round = this.#round;
    const request = {
      events: batch.map(({ property, section, item, eventId }) => ({ property, section, item, eventId })),
      ack: ack === "durable" ? AckMode.DURABLE : AckMode.QUEUED,
    };
    const limits = { signal: controller.signal, timeoutMs: callTimeoutMs, keepalive: isKept };
    const verdict = await pusher
      .pushBatch(request, limits)
      .then((response) => judgeResponse(batch, response))
      .catch((error: unknown) => judgeError(batch, ConnectError.from(error)));
    if (call.isReplaced) {
      return;
    }
    if (this.#isClosed && verdict.pace !== "on") {
      // Given up, not failed.
      this.#deps.buffer.land(batch, [batch]);
      return;
    }
    this.#deps.onVerdict(batch, verdict, this.#pace(verdict, round));
  }

  /** Begins the pause that the verdict on a call of `round` asks for; returns the time until the next call, in milliseconds. */
  #pace({ pace, retryAfterMs }: Verdict, round: number): number {
    if (pace === "on") {
      this.#failures = 0;
      this.#round += 1;
      return 0;
    }
    if (round === this.#round || this.#failures === 0) {
      this.#failures += 1;
      this.#round += 1;
    }
    const { clock, random } = this.#deps;
    const backoff = backoffMs(this.#failures, pace === "slow" ? SLOW_BACKOFF : BACKOFF, random);
    const pauseMs = Math.max(retryAfterMs, backoff);
    const until = clock.elapsed() + pauseMs;
    if (until > this.#pausedUntil) {
      this.#pausedUntil = until;
      this.#cancelPause?.();
      this.#cancelPause = clock.schedule(pauseMs, () => this.#resume());
    }
    // Another call may have asked for a longer one.
    return Math.round(this.#pausedUntil - clock.elapsed());
  }

  /** Not by `elapsed()`: by its reckoning a timer may fire a fraction of a millisecond early. */
  #resume(): void {
    this.#pausedUntil = 0;
    this.send();
  }
}
