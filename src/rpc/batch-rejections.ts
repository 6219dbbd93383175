/** The events of one PushBatch that were not taken, as its caller and the books hear of them; it judges none. */
import type { MessageInitShape } from "@bufbuild/protobuf";
import type { RejectionSchema } from "../../gen/stats/v1/stats_pb.js";
import { type FieldViolation, InvalidEventError } from "../ingest/admission.js";
import type { QueueFullError } from "../ingest/flusher.js";
import { deniedRejection, invalidRejection, queueFullRejection } from "./errors.js";
import { PROPERTY_DENIED, PropertyDeniedError } from "./permission.js";
import { type RejectionReason, type Rejections, rejectionReasonOf } from "./rejections.js";

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
