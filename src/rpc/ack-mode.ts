/** What a caller may ask of an answer: judges the AckMode, and waits for durability; it never queues. */
import { AckMode } from "../../gen/stats/v1/stats_pb.js";
import type { FieldViolation } from "../ingest/admission.js";
import type { Batch, BatchWaiter } from "../ingest/batch.js";
import { durableTimeout, toConnectError } from "./errors.js";
import type { CallContext } from "./unary-method.js";

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

/** Where batches are waited for. */
export interface DurableBatches {
  awaitDurable(batch: Batch, waiter: BatchWaiter): void;
}

/**
 * Resolves with `answer` when the caller's batches, one at least, are on stable storage. The caller's leaving ends the
 * wait, not the events, and leaves nothing at the batches.
 *
 * @throws ConnectError when the caller's time or ours is over before, or the service stops
 */
export function whenDurable<T>(
  flusher: DurableBatches,
  batches: readonly Batch[],
  call: CallContext,
  answer: T,
): Promise<T> {
  // One promise, and no AbortSignal: a thousand calls may wait at a time, and be answered at once.
  return new Promise((resolve, reject) => {
    let pending = batches.length;
    const fail = (error: Error) => {
      clearTimeout(timer);
      for (const batch of batches) {
        batch.forget(waiter);
      }
      reject(error);
    };
    const waiter: BatchWaiter = (error) => {
      pending -= 1;
      if (error !== undefined) {
        fail(toConnectError(error) ?? error);
      } else if (pending === 0) {
        clearTimeout(timer);
        resolve(answer);
      }
    };
    const giveUp = () => fail(durableTimeout());
    const timer = setTimeout(giveUp, DURABLE_TIMEOUT_MS);
    for (const batch of batches) {
      flusher.awaitDurable(batch, waiter);
    }
    call.onAbandoned(giveUp);
  });
}
