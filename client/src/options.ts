/** The options of the buffering client: their defaults and bounds. */
import type { ConnectError } from "@connectrpc/connect";
import { TIMER_MAX_MS } from "../../src/util/clock.js";
import type { CallOptions } from "./call-fetch.js";
import { EVENT_MAX_BYTES, type FieldViolation, type StatsEvent } from "./event.js";
import type { BufferBounds } from "./event-buffer.js";

/** An event that was dropped because it will never be accepted. */
export interface Rejection {
  /** The object that was pushed. */
  readonly event: StatsEvent;
  /** `INVALID`, `PERMISSION_DENIED`, or the name of a reason that this version does not know. */
  readonly reason: string;
  /** For people. */
  readonly message: string;
  /** The fields at fault, as far as the service named them. */
  readonly violations: readonly FieldViolation[];
}

/** A call that failed, or had events that there was no room for. Its events are kept and sent again. */
export interface Failure {
  readonly error: ConnectError;
  /** Events that it leaves in the buffer. */
  readonly events: number;
  /** Time until the next call, in milliseconds. */
  readonly retryInMs: number;
}

export interface BufferingOptions {
  /**
   * What an acknowledgement means. `queued`: the event is in the service's memory, and is lost if the service is killed
   * outright before it is flushed. `durable`: it is on stable storage. Default: `queued`.
   */
  readonly ack?: "queued" | "durable" | undefined;
  /** A batch is sent when it has this many events, at most 10,000. Default: 1,000. */
  readonly batchEvents?: number | undefined;
  /** … or this many bytes, at most {@link BATCH_MAX_BYTES}. Default: that. */
  readonly batchBytes?: number | undefined;
  /** … or when its oldest event is this old, in milliseconds. Default: 200. */
  readonly batchAgeMs?: number | undefined;
  /** Events in the buffer, those in flight included; a push beyond is refused. Default: 100,000. */
  readonly maxEvents?: number | undefined;
  /** The same in bytes, as they are sent; in memory they take some four times as much. Default: 16 MiB. */
  readonly maxBytes?: number | undefined;
  /** Calls in flight at a time. With 1, events arrive in the order of their pushes. Default: 2. */
  readonly maxCalls?: number | undefined;
  /** Time limit of one call, in milliseconds; after it the events are sent again. Default: 10,000. */
  readonly callTimeoutMs?: number | undefined;
  /** Told of each event that is dropped because it can never be accepted. */
  readonly onRejected?: ((rejection: Rejection) => void) | undefined;
  /** Told of the events that were acknowledged: the objects that were pushed. */
  readonly onAcknowledged?: ((events: readonly StatsEvent[]) => void) | undefined;
  /** Told of each call that has to be made again. */
  readonly onError?: ((failure: Failure) => void) | undefined;
  /**
   * Whether `console.warn` tells, once each, of an event that was dropped if there is no `onRejected`, and of events that
   * cannot be delivered if there is no `onError`. Default: true.
   */
  readonly warnings?: boolean | undefined;
}

export interface WaitOptions {
  /** Longest wait, in milliseconds; `Infinity`: no limit. */
  readonly timeoutMs?: number | undefined;
}

/** The service takes requests of 1 MiB; an event's bytes leave out the request's own few. */
export const BATCH_MAX_BYTES = 1024 * 1024 - 16;
const BATCH_MAX_EVENTS = 10_000;

/** The options that are numbers: default, least, most. */
const NUMBERS = {
  batchEvents: [1_000, 1, BATCH_MAX_EVENTS],
  batchBytes: [BATCH_MAX_BYTES, EVENT_MAX_BYTES, BATCH_MAX_BYTES],
  batchAgeMs: [200, 0, TIMER_MAX_MS],
  maxEvents: [100_000, 1, Number.MAX_SAFE_INTEGER],
  maxBytes: [16 * 1024 * 1024, EVENT_MAX_BYTES, Number.MAX_SAFE_INTEGER],
  maxCalls: [2, 1, 100],
  callTimeoutMs: [10_000, 1, TIMER_MAX_MS],
} as const;

type NumberOption = keyof typeof NUMBERS;

const ACKS: readonly unknown[] = ["queued", "durable"];
const CALLBACKS = ["onRejected", "onAcknowledged", "onError"] as const;

/** Names of the options. */
export const BUFFERING_OPTIONS: readonly string[] = [
  ...Object.keys(NUMBERS),
  "ack",
  "warnings",
  ...CALLBACKS,
];
export const CALL_OPTIONS: readonly (keyof CallOptions)[] = ["token", "headers", "fetch"];

/**
 * A name that is misspelt would otherwise leave an option at its default, and nobody would know.
 *
 * @throws TypeError that names the first option that does not exist
 */
export function refuseUnknown(options: object, names: readonly string[]): void {
  const unknown = Object.keys(options).find((name) => !names.includes(name));
  if (unknown !== undefined) {
    throw new TypeError(`there is no option "${unknown}"; there are ${names.join(", ")}`);
  }
}

export type BufferingNumbers = BufferBounds & Readonly<Record<NumberOption, number>>;

/**
 * The numbers of `options`, with their defaults.
 *
 * @throws TypeError that names the first option that does not exist, is out of its range, or is of another kind
 */
export function soundNumbers(options: BufferingOptions): BufferingNumbers {
  refuseUnknown(options, BUFFERING_OPTIONS);
  if (options.ack !== undefined && !ACKS.includes(options.ack)) {
    throw new TypeError(`ack must be "queued" or "durable", not ${JSON.stringify(options.ack)}`);
  }
  if (options.warnings !== undefined && typeof options.warnings !== "boolean") {
    throw new TypeError(`warnings must be true or false, not ${JSON.stringify(options.warnings)}`);
  }
  for (const name of CALLBACKS) {
    if (options[name] !== undefined && typeof options[name] !== "function") {
      throw new TypeError(`${name} must be a function, not ${JSON.stringify(options[name])}`);
    }
  }
  const entries = Object.entries(NUMBERS).map(([name, [byDefault, min, max]]) => {
    const value = options[name as NumberOption] ?? byDefault;
    if (!Number.isInteger(value) || value < min || value > max) {
      throw new TypeError(`${name} must be a whole number from ${min} to ${max}, not ${value}`);
    }
    return [name, value];
  });
  return Object.fromEntries(entries) as BufferingNumbers;
}

/**
 * The longest wait that `options` name, in milliseconds.
 *
 * @throws TypeError that names what is wrong with them
 */
export function soundTimeout(options: WaitOptions, defaultMs: number): number {
  refuseUnknown(options, ["timeoutMs"]);
  const { timeoutMs = defaultMs } = options;
  if (!(typeof timeoutMs === "number" && timeoutMs >= 0)) {
    throw new TypeError(`timeoutMs must be a number from 0, not ${timeoutMs}`);
  }
  return timeoutMs;
}
