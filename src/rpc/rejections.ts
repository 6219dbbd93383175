/** Counts the events that were refused, by reason, for those who watch the service; it refuses none. */
import { InvalidEventError } from "../ingest/admission.js";
import { FairShareError, IntakeClosedError, QueueFullError, TooManyEventsError } from "../ingest/flusher.js";
import { PropertyDeniedError } from "./permission.js";

/**
 * Why an event was refused:
 * - `invalid`: it, or the request around it, broke a rule
 * - `permission_denied`: the caller's token does not allow its property
 * - `queue_full`: there was no room
 * - `fair_share`: there was no room left for this caller
 * - `shutting_down`: the service takes nothing more in
 * - `all_or_nothing`: nothing was wrong with it, but with others of a batch that was to be taken whole or not at all
 */
export type RejectionReason =
  | "invalid"
  | "permission_denied"
  | "queue_full"
  | "fair_share"
  | "shutting_down"
  | "all_or_nothing";

/** The reason that an error of the domain stands for; undefined for other errors. */
export function rejectionReasonOf(error: unknown): RejectionReason | undefined {
  if (error instanceof InvalidEventError || error instanceof TooManyEventsError) {
    return "invalid";
  }
  if (error instanceof PropertyDeniedError) {
    return "permission_denied";
  }
  if (error instanceof FairShareError) {
    return "fair_share";
  }
  if (error instanceof QueueFullError) {
    return "queue_full";
  }
  return error instanceof IntakeClosedError ? "shutting_down" : undefined;
}

/** Events that were refused since the process started. With those accepted they are all that came to a handler. */
export class Rejections {
  readonly #events: Record<RejectionReason, number> = {
    invalid: 0,
    permission_denied: 0,
    queue_full: 0,
    fair_share: 0,
    shutting_down: 0,
    all_or_nothing: 0,
  };

  add(reason: RejectionReason, events: number): void {
    this.#events[reason] += events;
  }

  /** Books events that were refused by throwing; without effect when `error` is none of the domain's. */
  addThrown(error: unknown, events: number): void {
    const reason = rejectionReasonOf(error);
    if (reason !== undefined) {
      this.add(reason, events);
    }
  }

  /** By reason; all reasons are there. */
  read(): Readonly<Record<RejectionReason, number>> {
    return { ...this.#events };
  }
}
