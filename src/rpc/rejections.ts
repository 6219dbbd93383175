/** The events that were refused: counted by reason, and listed for the caller of a PushBatch. */
import type { MessageInitShape } from "@bufbuild/protobuf";
import type { RejectionSchema } from "../../gen/stats/v1/stats_pb.js";
import {
  AheadOfClockError,
  type FieldViolation,
  InvalidEventError,
  PropertyDeniedError,
  REFUSAL_REASONS,
  type Refusal,
  type RefusalReason,
  RefusedError,
} from "../ingest/refusal.js";
import { rejectionOf } from "./errors.js";
import { UNHANDLED_REASONS, type UnhandledReason } from "./stock-lane.js";

/** Events that were refused since the process started. With those accepted they are all that came to a handler. */
export class Rejections {
  readonly #events = Object.fromEntries(REFUSAL_REASONS.map((reason) => [reason, 0])) as Record<
    RefusalReason,
    number
  >;

  add(reason: RefusalReason, events: number): void {
    this.#events[reason] += events;
  }

  /** Books events that were refused by throwing; without effect when `error` is no refusal. */
  addThrown(error: unknown, events: number): void {
    if (error instanceof RefusedError) {
      this.add(error.reason, events);
    }
  }

  /** By reason; all reasons are there. */
  read(): Readonly<Record<RefusalReason, number>> {
    return { ...this.#events };
  }
}

/** Calls that reached no method since the process started. */
export class RefusedCalls {
  readonly #calls = Object.fromEntries(UNHANDLED_REASONS.map((reason) => [reason, 0])) as Record<
    UnhandledReason,
    number
  >;

  readonly add = (reason: UnhandledReason): void => {
    this.#calls[reason] += 1;
  };

  /** By reason; all reasons are there. */
  read(): Readonly<Record<UnhandledReason, number>> {
    return { ...this.#calls };
  }
}

/** An error names no more fields than this: it travels in headers, which clients bound to a few KiB. */
const VIOLATIONS_MAX = 10;

/** The refused events of one PushBatch, in the order of its events. */
export class BatchRejections {
  /** One for each event that was not taken. */
  readonly list: MessageInitShape<typeof RejectionSchema>[] = [];
  readonly #counts = new Map<RefusalReason, number>();
  /** The first ones, for an error. */
  readonly #violations: FieldViolation[] = [];
  #violationCount = 0;
  /** Longest time after which one of them may be taken. */
  #retryAfterMs: number | undefined;
  /** What these were made into. */
  #error: RefusedError | undefined;

  /** The event at `index` is not taken. */
  add(index: number, refusal: Refusal): void {
    this.list.push(rejectionOf(index, refusal));
    this.#counts.set(refusal.reason, (this.#counts.get(refusal.reason) ?? 0) + 1);
    if (refusal.retryAfterMs !== undefined) {
      this.#retryAfterMs = Math.max(this.#retryAfterMs ?? 0, refusal.retryAfterMs);
    }
    for (const { field, description } of refusal.violations ?? []) {
      this.#violationCount += 1;
      if (this.#violations.length < VIOLATIONS_MAX) {
        this.#violations.push({ field: `events[${index}].${field}`, description });
      }
    }
  }

  /**
   * For when no event is taken because of what is wrong with these. A fault that lasts counts before one that time cures
   * where all events must be taken, and after it where each counts alone.
   */
  toError({ isWhole }: { readonly isWhole: boolean }): RefusedError {
    const cured = this.#retryAfterMs;
    this.#error =
      cured !== undefined && (!isWhole || this.#violationCount === 0)
        ? new AheadOfClockError(cured)
        : this.#lastingError();
    return this.#error;
  }

  #lastingError(): RefusedError {
    const more = this.#violationCount - this.#violations.length;
    const Refusal = this.#counts.has("permission_denied") ? PropertyDeniedError : InvalidEventError;
    return new Refusal([
      ...this.#violations,
      ...(more > 0 ? [{ field: "events", description: `${more} more fields are at fault` }] : []),
    ]);
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
}
