/** The events that were refused: counted by reason, and listed for the caller of a PushBatch. */
import type { MessageInitShape } from "@bufbuild/protobuf";
import type { RejectionSchema } from "../../gen/stats/v1/stats_pb.js";
import { type FieldViolation, InvalidEventError } from "../ingest/admission.js";
import { FairShareError, IntakeClosedError, QueueFullError, TooManyEventsError } from "../ingest/flusher.js";
import { deniedRejection, invalidRejection, queueFullRejection } from "./errors.js";
import { PROPERTY_DENIED, PropertyDeniedError } from "./permission.js";

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

/** An error names no more fields than this: it travels in headers, which clients bound to a few KiB. */
const VIOLATIONS_MAX = 10;

/** Collects rejections in the order of the events. */
export class BatchRejections {
  /** One for each event that was not taken. */
  readonly list: MessageInitShape<typeof RejectionSchema>[] = [];
  readonly #counts = new Map<RejectionReason, number>();
  /** The first ones, for an error. */
  readonly #violations: FieldViolation[] = [];
  #violationCount = 0;
  /** What these were made into. */
  #error: InvalidEventError | PropertyDeniedError | undefined;

  /** The event breaks rules. */
  addInvalid(index: number, violations: readonly FieldViolation[]): void {
    this.list.push(invalidRejection(index, violations));
    this.#count("invalid");
    this.#note(index, violations);
  }

  /** The caller may not push the event's property. */
  addDenied(index: number): void {
    this.list.push(deniedRejection(index));
    this.#count("permission_denied");
    this.#note(index, [PROPERTY_DENIED]);
  }

  /** There is no room for the event. */
  addFull(index: number, full: QueueFullError): void {
    this.list.push(queueFullRejection(index, full));
    this.#count(rejectionReasonOf(full) ?? "queue_full");
  }

  /** For when no event is taken because of what is wrong with these. */
  toError(): InvalidEventError | PropertyDeniedError {
    const more = this.#violationCount - this.#violations.length;
    const Refusal = this.#counts.has("permission_denied") ? PropertyDeniedError : InvalidEventError;
    this.#error = new Refusal([
      ...this.#violations,
      ...(more > 0 ? [{ field: "events", description: `${more} more fields are at fault` }] : []),
    ]);
    return this.#error;
  }

  /** Books these and, when the call of that many `events` failed with `error`, the rest of them. */
  countIn(rejections: Rejections, failure?: { readonly error: unknown; readonly events: number }): void {
    for (const [reason, events] of this.#counts) {
      rejections.add(reason, events);
    }
    if (failure !== undefined) {
      const rest = failure.events - this.list.length;
      if (failure.error === this.#error) {
        rejections.add("all_or_nothing", rest);
      } else {
        rejections.addThrown(failure.error, rest);
      }
    }
  }

  #count(reason: RejectionReason): void {
    this.#counts.set(reason, (this.#counts.get(reason) ?? 0) + 1);
  }

  #note(index: number, violations: readonly FieldViolation[]): void {
    this.#violationCount += violations.length;
    for (const { field, description } of violations) {
      if (this.#violations.length < VIOLATIONS_MAX) {
        this.#violations.push({ field: `events[${index}].${field}`, description });
      }
    }
  }
}
