/** What calls may take together: memory for bodies that arrive, slots on the stock lane, places to wait for durability. */
import { AckMode } from "../../gen/stats/v1/stats_pb.js";
import { FairShare } from "../util/fair-share.js";
import { tooManyCalls } from "./errors.js";
import type { UnaryInterceptor } from "./unary-method.js";

/** Bounds of request bodies, in bytes. */
export interface BodyLimitsOptions {
  /** Largest message, after decompression. Default: 1 MiB. */
  readonly requestMaxBytes?: number;
  /** Memory for the bodies of all requests together that are still arriving. Default: 64 MiB. */
  readonly bodiesMaxBytes?: number;
}

export const DEFAULT_REQUEST_MAX_BYTES = 1024 * 1024;
/** Four of the largest messages that REQUEST_MAX_BYTES can allow, and 64 of the default size. */
const DEFAULT_BODIES_MAX_BYTES = 64 * 1024 * 1024;

/**
 * A body up to this size is not counted, in bytes. The number of requests bounds what such bodies take, and they are let
 * in however many large ones are on their way, or stuck on it. Far more than any Push has.
 */
const SMALL_BODY_BYTES = 4 * 1024;

/** Knows the bounds and what is taken. */
export class BodyLimits {
  readonly requestMaxBytes: number;
  readonly #bodiesMaxBytes: number;
  #usedBytes = 0;

  constructor(options: BodyLimitsOptions = {}) {
    this.requestMaxBytes = options.requestMaxBytes ?? DEFAULT_REQUEST_MAX_BYTES;
    this.#bodiesMaxBytes = options.bodiesMaxBytes ?? DEFAULT_BODIES_MAX_BYTES;
  }

  /** What counted bodies take now, in bytes. */
  get usedBytes(): number {
    return this.#usedBytes;
  }

  /** Whether a body of this size is counted. */
  counts(bytes: number): boolean {
    return bytes > SMALL_BODY_BYTES;
  }

  /** Lets a body grow. False: there is no room, and it still counts with `fromBytes`. */
  tryGrow(fromBytes: number, toBytes: number): boolean {
    const usedBytes = this.#usedBytes - this.#counted(fromBytes) + this.#counted(toBytes);
    if (usedBytes > this.#bodiesMaxBytes) {
      return false;
    }
    this.#usedBytes = usedBytes;
    return true;
  }

  /** Takes note that a body is gone. */
  leave(bytes: number): void {
    this.#usedBytes -= this.#counted(bytes);
  }

  #counted(bytes: number): number {
    return this.counts(bytes) ? bytes : 0;
  }
}

/** A call on the stock lane takes some 50 KB until it is over (Node 20, connect 2.1), and may last for ever. */
const MAX_STOCK_CALLS = 4096;

/**
 * Most calls of one connection that stream, and so may last for ever: health watches, reflection. A session of HTTP/2 has
 * 128 streams, and those that are left are for calls that end.
 */
const MAX_STREAMING_CALLS = 16;

/** Counts the streaming calls of each connection. */
export class StreamingCalls {
  readonly #open = new WeakMap<object, number>();

  /** Takes a place; gives what frees it again, once; undefined when the connection has no more. */
  take(connection: object | undefined): (() => void) | undefined {
    const open = (connection && this.#open.get(connection)) ?? 0;
    if (connection === undefined || open >= MAX_STREAMING_CALLS) {
      return undefined;
    }
    this.#open.set(connection, open + 1);
    return () => this.#open.set(connection, (this.#open.get(connection) ?? 1) - 1);
  }
}

/** Slots for calls. Each caller that has one may have more only while it has fewer than are free. */
export class CallSlots {
  readonly #count: number;
  readonly #shares = new FairShare();
  #taken = 0;

  constructor(count = MAX_STOCK_CALLS) {
    this.#count = count;
  }

  /** Takes a slot; gives what frees it again, once; undefined when there is none for this caller. */
  take(caller: string): (() => void) | undefined {
    const free = this.#count - this.#taken;
    if (free <= 0 || !this.#shares.allows(caller, free)) {
      return undefined;
    }
    this.#taken += 1;
    this.#shares.add(caller, 1);
    return () => {
      this.#taken -= 1;
      this.#shares.release([[caller, 1]]);
    };
  }
}

/** Each takes a few hundred bytes until its batch is on stable storage. */
const MAX_WAITING_CALLS = 10_000;

/**
 * Makes the interceptor. Of all methods together at most `maxWaiting` calls wait for durability at a time; one more is
 * refused before its events are taken. All other calls go through, however many wait, and do not count.
 */
export function limitWaiting(maxWaiting = MAX_WAITING_CALLS): UnaryInterceptor {
  let waiting = 0;
  const leave = () => {
    waiting -= 1;
  };
  return (next) => (request, call) => {
    const { ack } = request as { readonly ack?: AckMode };
    if (ack !== AckMode.DURABLE) {
      return next(request, call);
    }
    if (waiting >= maxWaiting) {
      throw tooManyCalls(maxWaiting);
    }
    const answer = next(request, call);
    if (answer instanceof Promise) {
      waiting += 1;
      answer.then(leave, leave);
    }
    return answer;
  };
}
