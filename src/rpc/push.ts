/** The handler of StatsService.Push, and how it and PushBatch wait where the caller asked for durability. */
import { AckMode, type StatsService } from "../../gen/stats/v1/stats_pb.js";
import { isAllowed } from "../auth/token-store.js";
import type { EventInput } from "../ingest/admission.js";
import type { AdmittedEvent, Batch, BatchWaiter } from "../ingest/batch.js";
import { type FieldViolation, PropertyDeniedError } from "../ingest/refusal.js";
import { PROPERTY_DENIED } from "./authentication.js";
import { abandoned, durableTimeout, toConnectError } from "./errors.js";
import { Rejections } from "./rejections.js";
import type { CallContext, UnaryHandler } from "./unary-method.js";

/** Judges events. */
export interface EventAdmission {
  admit(input: EventInput, inet: Uint8Array, alsoWrong?: FieldViolation): AdmittedEvent;
}

/** Takes events for the background. `caller` is never optional: who stands in between must pass it on. */
export interface EventIntake extends DurableBatches {
  push(event: AdmittedEvent, caller: string | undefined): Batch;
}

export interface PushHandlerDeps {
  readonly admission: EventAdmission;
  readonly flusher: EventIntake;
  /** Hears of the events that are refused. Default: nobody reads it. */
  readonly rejections?: Rejections;
}

/** Makes the handler. It answers from memory; only ACK_MODE_DURABLE waits. */
export function createPushHandler({
  admission,
  flusher,
  rejections = new Rejections(),
}: PushHandlerDeps): UnaryHandler<typeof StatsService.method.push> {
  return (request, call) => {
    try {
      if (!isAllowed(call.caller, request.property)) {
        throw new PropertyDeniedError(PROPERTY_DENIED.violations);
      }
      const event = admission.admit(request, call.address, ackModeFault(request.ack));
      const batch = flusher.push(event, call.caller?.id);
      return request.ack === AckMode.DURABLE ? whenDurable(flusher, [batch], call, {}) : {};
    } catch (error) {
      rejections.addThrown(error, 1);
      throw toConnectError(error);
    }
  };
}

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
        fail(abandoned(error));
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
