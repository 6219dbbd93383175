/** Why an event is refused, and the errors that say so: the one home of what a refusal is called. */

/** By name: the label `reason` of the metrics, and what callers are told depends on it. */
export const REFUSAL_REASONS = [
  /** The event, or the request around it, breaks a rule. */
  "invalid",
  /** Its time lies ahead of the service's clock, by so little that time or a clock set right will cure it. */
  "ahead_of_clock",
  /** The caller's token does not allow its property. */
  "permission_denied",
  /** There is no room. */
  "queue_full",
  /** There is no room left for this caller. */
  "fair_share",
  /** A batch that is to be taken whole has more events than there is ever room for. */
  "too_many_events",
  /** The service takes nothing more in. */
  "shutting_down",
  /** Nothing is wrong with it, but with others of a batch that is to be taken whole or not at all. */
  "all_or_nothing",
] as const;

export type RefusalReason = (typeof REFUSAL_REASONS)[number];

/** What is wrong with one field, for the one who calls. */
export interface FieldViolation {
  /** Name in the contract, for example `event_id`. */
  readonly field: string;
  readonly description: string;
}

/** Why an event is refused. A plain value will do where thousands are refused at once. */
export interface Refusal {
  readonly reason: RefusalReason;
  readonly message: string;
  /** The fields at fault. Default: none is. */
  readonly violations?: readonly FieldViolation[];
  /** When to try again, in milliseconds. Default: a retry does not help, or nobody knows when it will. */
  readonly retryAfterMs?: number;
}

/** An event was not taken. */
export abstract class RefusedError extends Error implements Refusal {
  abstract readonly reason: RefusalReason;
  readonly violations?: readonly FieldViolation[];
  readonly retryAfterMs?: number;
}

/** An event broke the rules; every field at fault is named. */
export class InvalidEventError extends RefusedError {
  override readonly name = "InvalidEventError";
  readonly reason = "invalid";
  override readonly violations: readonly FieldViolation[];

  constructor(violations: readonly FieldViolation[]) {
    super(describe(violations));
    this.violations = violations;
  }
}

/** The time in the event's id lies ahead of the service's clock. */
export class AheadOfClockError extends RefusedError {
  override readonly name = "AheadOfClockError";
  readonly reason = "ahead_of_clock";
  override readonly retryAfterMs: number;

  constructor(retryAfterMs: number) {
    super(AHEAD_OF_CLOCK);
    this.retryAfterMs = retryAfterMs;
  }
}

export const AHEAD_OF_CLOCK =
  "the time in event_id lies more than 5 minutes ahead of the service's clock; one of the two clocks is off";

/** The caller may not push a property; the fields that have it are named. */
export class PropertyDeniedError extends RefusedError {
  override readonly name = "PropertyDeniedError";
  readonly reason = "permission_denied";
  override readonly violations: readonly FieldViolation[];

  constructor(violations: readonly FieldViolation[]) {
    super(describe(violations));
    this.violations = violations;
  }
}

/** There is no room. */
export class QueueFullError extends RefusedError {
  override readonly name: string = "QueueFullError";
  readonly reason: "queue_full" | "fair_share" = "queue_full";
  override readonly retryAfterMs: number;

  constructor(retryAfterMs: number, message = "the queue is full") {
    super(message);
    this.retryAfterMs = retryAfterMs;
  }
}

/** The caller has its share of the room; others still find some. */
export class FairShareError extends QueueFullError {
  override readonly name = "FairShareError";
  override readonly reason = "fair_share";

  constructor(retryAfterMs: number) {
    super(retryAfterMs, "the caller's share of the queue is full");
  }
}

/** The queue, or the caller's share of it, would not have room for so many events if it were empty. None was taken. */
export class TooManyEventsError extends RefusedError {
  override readonly name = "TooManyEventsError";
  readonly reason = "too_many_events";

  constructor(rows: number) {
    super(`there is never room for ${rows} events at once`);
  }
}

/** The service is stopping (or has not started). */
export class IntakeClosedError extends RefusedError {
  override readonly name = "IntakeClosedError";
  readonly reason = "shutting_down";

  constructor() {
    super("the service is shutting down");
  }
}

function describe(violations: readonly FieldViolation[]): string {
  return violations.map(({ field, description }) => `${field}: ${description}`).join("; ");
}
