/** The handler of StatsService.Push: judges, queues, and waits where the caller asked for it. */
import { AckMode, type StatsService } from "../../gen/stats/v1/stats_pb.js";
import type { EventInput, FieldViolation } from "../ingest/admission.js";
import type { AdmittedEvent, Batch } from "../ingest/batch.js";
import { ackModeFault, type DurableBatches, whenDurable } from "./ack-mode.js";
import { toConnectError } from "./errors.js";
import { requirePermission } from "./permission.js";
import { Rejections } from "./rejections.js";
import type { UnaryHandler } from "./unary-method.js";

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
      requirePermission(call.caller, request.property);
      const event = admission.admit(request, call.address, ackModeFault(request.ack));
      const batch = flusher.push(event, call.caller?.id);
      return request.ack === AckMode.DURABLE ? whenDurable(flusher, [batch], call, {}) : {};
    } catch (error) {
      rejections.addThrown(error, 1);
      throw toConnectError(error) ?? error;
    }
  };
}
