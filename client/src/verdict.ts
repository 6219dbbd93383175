/** Reads from the answer to a PushBatch what has become of each event, and when to try the others again. */
import { durationMs } from "@bufbuild/protobuf/wkt";
import { Code, ConnectError } from "@connectrpc/connect";
import { BadRequestSchema, RetryInfoSchema } from "../../gen/google/rpc/error_details_pb.js";
import { type PushBatchResponse, type Rejection, RejectionReason } from "../../gen/stats/v1/stats_pb.js";
import { describeViolations, type FieldViolation } from "./event.js";
import type { BufferedEvent, EventBatch } from "./event-buffer.js";

/** An event that will never be accepted. */
export interface RejectedEvent {
  readonly event: BufferedEvent;
  /** `INVALID`, `PERMISSION_DENIED`, or the name of a reason that this version does not know. */
  readonly reason: string;
  readonly message: string;
  readonly violations: readonly FieldViolation[];
}

/** What one call has come to. Each event of the batch is in one of the three lists. */
export interface Verdict {
  readonly acknowledged: readonly BufferedEvent[];
  readonly rejected: readonly RejectedEvent[];
  /** What to send again, each in a call of its own. */
  readonly again: readonly EventBatch[];
  /** The other side's word on when, in milliseconds; 0: none. */
  readonly retryAfterMs: number;
  /** How to go on: at once; after a growing pause; after a long one, since a person must mend something. */
  readonly pace: "on" | "backoff" | "slow";
  /** Why there is something to send again; absent when there is nothing, or when it was only too much for one call. */
  readonly error?: ConnectError;
}

/** Of a call that told nothing of its events, with no reason to wait. */
export const NOTHING_SETTLED = { acknowledged: [], rejected: [], retryAfterMs: 0, pace: "on" } as const;

/** Codes that say, of a call as a whole, that it was wrong, not the moment: the events are sound, and are kept. */
const NEEDS_A_PERSON: ReadonlySet<Code> = new Set([
  Code.Unauthenticated,
  Code.PermissionDenied,
  Code.Unimplemented,
  Code.NotFound,
]);

/** The service asks for some 36 s at most; what says more may be mended long before. */
const RETRY_AFTER_MAX_MS = 60_000;
const TOO_MANY_FIELD = "events";
/** Of a property that the token does not allow nothing else is judged. */
const DENIED_FIELD = "property";
const INDEXED_FIELD = /^events\[(\d+)\]\.(.+)$/;

/** The verdict of an answer. Throws ConnectError when it cannot be one to this batch. */
export function judgeResponse(batch: EventBatch, { accepted, rejections }: PushBatchResponse): Verdict {
  if (accepted + rejections.length !== batch.length) {
    throw new ConnectError(
      `the answer tells of ${accepted + rejections.length} events, not of the ${batch.length} that were sent`,
      Code.Internal,
    );
  }
  const rest = new Set(batch);
  const rejected: RejectedEvent[] = [];
  const refused: Rejection[] = [];
  const later: BufferedEvent[] = [];
  let retryAfterMs = 0;
  for (const rejection of rejections) {
    const { index, reason, violations, retryDelay } = rejection;
    const event = batch[index];
    if (event === undefined || !rest.delete(event)) {
      throw new ConnectError(`the answer rejects event ${index} of ${batch.length}`, Code.Internal);
    }
    if (retryDelay === undefined) {
      const message = describeViolations(violations) || rejection.message;
      rejected.push({ event, reason: RejectionReason[reason] ?? `reason ${reason}`, message, violations });
    } else {
      refused.push(rejection);
      later.push(event);
      retryAfterMs = Math.max(retryAfterMs, durationMs(retryDelay));
    }
  }
  return {
    acknowledged: [...rest],
    rejected,
    again: later.length === 0 ? [] : [later],
    retryAfterMs: Math.min(RETRY_AFTER_MAX_MS, retryAfterMs),
    ...(later.length === 0 ? { pace: "on" } : { pace: "backoff", error: notYet(refused) }),
  };
}

/** The verdict of a call that failed. */
export function judgeError(batch: EventBatch, error: ConnectError): Verdict {
  const fields = error.findDetails(BadRequestSchema).flatMap(({ fieldViolations }) => fieldViolations);
  if (isTooLong(error, fields) && batch.length > 1) {
    const half = Math.ceil(batch.length / 2);
    const again = [batch.slice(0, half), batch.slice(half)];
    return { ...NOTHING_SETTLED, again };
  }
  if (isAboutEvents(error, fields)) {
    return judgeEvents(batch, error, fields);
  }
  return {
    ...NOTHING_SETTLED,
    again: [batch],
    retryAfterMs: retryAfterMs(error),
    pace: NEEDS_A_PERSON.has(error.code) ? "slow" : "backoff",
    error,
  };
}

/** The service takes fewer events, or bytes, in a call. RESOURCE_EXHAUSTED is about room only if it says for when. */
function isTooLong(error: ConnectError, fields: readonly FieldViolation[]): boolean {
  if (error.code === Code.ResourceExhausted) {
    return error.findDetails(RetryInfoSchema).length === 0 && !error.metadata.has("retry-after");
  }
  const isOnlyTooMany = fields.length > 0 && fields.every(({ field }) => field === TOO_MANY_FIELD);
  return error.code === Code.InvalidArgument && isOnlyTooMany;
}

/** None of the events can be accepted, ever. A denial that names no event is about the caller. */
function isAboutEvents({ code }: ConnectError, fields: readonly FieldViolation[]): boolean {
  return (
    code === Code.InvalidArgument ||
    (code === Code.PermissionDenied && fields.some(({ field }) => INDEXED_FIELD.test(field)))
  );
}

/** Of events that the service takes later, when it has room perhaps, or when their time has come. */
function notYet([first, ...more]: readonly Rejection[]): ConnectError {
  const others = more.length === 0 ? "" : ` (and ${more.length} more)`;
  const isFull = first?.reason === RejectionReason.QUEUE_FULL || first?.reason === RejectionReason.FAIR_SHARE;
  return new ConnectError(`${first?.message}${others}`, isFull ? Code.ResourceExhausted : Code.Unavailable);
}

/** An error names the first fields at fault only: events that it does not name go again, for reasons of their own. */
function judgeEvents(batch: EventBatch, error: ConnectError, fields: readonly FieldViolation[]): Verdict {
  const violations = new Map<number, FieldViolation[]>();
  for (const { field, description } of fields) {
    const [, index, name] = INDEXED_FIELD.exec(field) ?? [];
    if (name !== undefined && batch[Number(index)] !== undefined) {
      const list = violations.get(Number(index)) ?? [];
      violations.set(Number(index), [...list, { field: name, description }]);
    }
  }
  // What names no event is about the call, and so about all of them.
  const isNamed = (index: number) => violations.size === 0 || violations.has(index);
  const rest = batch.filter((_, index) => !isNamed(index));
  const rejected = batch.flatMap((event, index) =>
    isNamed(index) ? [rejectedEvent(event, error, violations.get(index) ?? [])] : [],
  );
  return { ...NOTHING_SETTLED, rejected, again: rest.length === 0 ? [] : [rest] };
}

function rejectedEvent(
  event: BufferedEvent,
  error: ConnectError,
  violations: readonly FieldViolation[],
): RejectedEvent {
  const isDenied =
    error.code === Code.PermissionDenied && violations.every(({ field }) => field === DENIED_FIELD);
  return {
    event,
    reason: isDenied ? "PERMISSION_DENIED" : "INVALID",
    message: describeViolations(violations) || error.rawMessage,
    violations,
  };
}

/** Of the service, or of a proxy that speaks HTTP only. */
function retryAfterMs(error: ConnectError): number {
  const delays = error.findDetails(RetryInfoSchema).map(({ retryDelay }) => retryDelay);
  // RFC 9110, section 10.2.3. Not its other form, a date: that would need clocks that agree.
  const [seconds] = /^\d+$/.exec(error.metadata.get("retry-after") ?? "") ?? ["0"];
  const ms = [
    1_000 * Number(seconds),
    ...delays.map((delay) => (delay === undefined ? 0 : durationMs(delay))),
  ];
  return Math.min(RETRY_AFTER_MAX_MS, Math.max(...ms));
}
