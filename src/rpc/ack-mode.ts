/** What a caller may ask of an answer: judges the AckMode, and waits for durability; it never queues. */
import { AckMode } from "../../gen/stats/v1/stats_pb.js";
import type { FieldViolation } from "../ingest/admission.js";
import { durableTimeout, toConnectError } from "./errors.js";

/** A caller without a deadline waits no longer than this for durability, in milliseconds. */
const DURABLE_TIMEOUT_MS = 30_000;

const ACK_MODE_UNKNOWN: FieldViolation = {
  field: "ack",
  description: "must be ACK_MODE_QUEUED or ACK_MODE_DURABLE, or unspecified",
};

/** What is wrong with a request's `ack`; undefined when nothing is. */
export function ackModeFault(ack: AckMode): FieldViolation | undefined {
  return AckMode[ack] === undefined ? ACK_MODE_UNKNOWN : undefined;
}

/**
 * Resolves with `answer` when the caller's events have settled, that is, are on stable storage. The caller's leaving
 * ends the wait, not the events.
 *
 * @throws ConnectError when the caller's time or ours is over before, or the service stops
 */
export async function whenDurable<T>(settled: Promise<unknown>, signal: AbortSignal, answer: T): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  let onAbort: (() => void) | undefined;
  const timeout = new Promise<never>((_, reject) => {
    onAbort = () => reject(durableTimeout());
    if (signal.aborted) {
      onAbort();
      return;
    }
    timer = setTimeout(onAbort, DURABLE_TIMEOUT_MS);
    signal.addEventListener("abort", onAbort, { once: true });
  });
  try {
    await Promise.race([settled, timeout]);
    return answer;
  } catch (error) {
    throw toConnectError(error) ?? error;
  } finally {
    clearTimeout(timer);
    if (onAbort !== undefined) {
      signal.removeEventListener("abort", onAbort);
    }
  }
}
