/** Turns refusals and the errors of the protocol into what callers see: the only place that knows Connect's codes for them. */
import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { type DurationSchema, durationFromMs } from "@bufbuild/protobuf/wkt";
import { Code, ConnectError } from "@connectrpc/connect";
import { BadRequestSchema, ErrorInfoSchema, RetryInfoSchema } from "../../gen/google/rpc/error_details_pb.js";
import { RejectionReason, type RejectionSchema } from "../../gen/stats/v1/stats_pb.js";
import type { BucketUnit } from "../counts/calendar.js";
import {
  CountsUnavailableError,
  type Fit,
  QueryAbandonedError,
  QueryTimeoutError,
  RangeNotKeptError,
  TooManyQueriesError,
} from "../counts/query-errors.js";
import type { BatchAbandonedError } from "../ingest/batch.js";
import { type FieldViolation, type Refusal, type RefusalReason, RefusedError } from "../ingest/refusal.js";

/** `domain` of google.rpc.ErrorInfo: who gives the reasons their meaning. */
const ERROR_DOMAIN = "stats.v1";

/** When to come back to a service that is being replaced: its successor is up, or another instance is. */
const DRAINING_RETRY_MS = 1_000;

/** When to come back to a service that has too much to do: what others wait for has been done by then, or given up. */
const BUSY_RETRY_MS = 1_000;

/** What callers are told of a refusal, by its reason. */
interface Answer {
  readonly code: Code;
  /** `reason` of google.rpc.ErrorInfo. Default: there is none, the fields at fault say it. */
  readonly info?: string;
  /** How the message goes on. */
  readonly advice?: string;
  /** When to come back, in milliseconds, for a refusal that does not say so itself. */
  readonly retryAfterMs?: number;
  /** Of one event of a batch. Default: no event is refused so alone. */
  readonly rejection?: RejectionReason;
}

const ANSWERS: Readonly<Record<RefusalReason, Answer>> = {
  invalid: { code: Code.InvalidArgument, rejection: RejectionReason.INVALID },
  ahead_of_clock: {
    code: Code.Unavailable,
    info: "AHEAD_OF_CLOCK",
    advice: "try again",
    rejection: RejectionReason.AHEAD_OF_CLOCK,
  },
  permission_denied: { code: Code.PermissionDenied, rejection: RejectionReason.PERMISSION_DENIED },
  queue_full: {
    code: Code.ResourceExhausted,
    info: "QUEUE_FULL",
    advice: "try again",
    rejection: RejectionReason.QUEUE_FULL,
  },
  fair_share: {
    code: Code.ResourceExhausted,
    info: "FAIR_SHARE",
    advice: "try again",
    rejection: RejectionReason.FAIR_SHARE,
  },
  // No RetryInfo: the same call will never do.
  too_many_events: { code: Code.ResourceExhausted, info: "TOO_MANY_EVENTS", advice: "send fewer" },
  shutting_down: {
    code: Code.Unavailable,
    info: "SHUTTING_DOWN",
    advice: "try again",
    retryAfterMs: DRAINING_RETRY_MS,
  },
  all_or_nothing: { code: Code.InvalidArgument },
};

/** The error that a caller gets for `error`: its own answer to a refusal, and anything else as it is. */
export function toConnectError(error: unknown): unknown {
  return error instanceof RefusedError ? refused(error) : (queryFailed(error) ?? error);
}

function refused(refusal: RefusedError): ConnectError {
  const { code, info, advice, retryAfterMs = refusal.retryAfterMs } = ANSWERS[refusal.reason];
  const when = refusal.retryAfterMs === undefined ? "" : ` in ${refusal.retryAfterMs} ms`;
  const details = [
    refusal.violations && badRequest(refusal.violations),
    retryAfterMs === undefined ? undefined : retryInfo(retryAfterMs),
    info === undefined ? undefined : errorInfo(info),
  ];
  return new ConnectError(
    advice === undefined ? refusal.message : `${refusal.message}; nothing was recorded, ${advice}${when}`,
    code,
    undefined,
    details.filter((detail) => detail !== undefined),
  );
}

/** The error that a caller gets for one of queries; undefined when it is none. */
function queryFailed(error: unknown): ConnectError | undefined {
  if (error instanceof RangeNotKeptError) {
    return new ConnectError(error.message, Code.FailedPrecondition, undefined, [
      errorInfo("RANGE_NOT_KEPT", fitMetadata(error.fit)),
    ]);
  }
  if (error instanceof TooManyQueriesError) {
    return new ConnectError(`${error.message}; try again`, Code.ResourceExhausted, undefined, [
      retryInfo(BUSY_RETRY_MS),
      errorInfo("TOO_MANY_QUERIES"),
    ]);
  }
  if (error instanceof QueryTimeoutError) {
    return new ConnectError(`${error.message}; ask for a shorter range`, Code.Unavailable, undefined, [
      errorInfo("QUERY_TIMEOUT"),
    ]);
  }
  if (error instanceof CountsUnavailableError) {
    return new ConnectError(`${error.message}; try again`, Code.Unavailable, undefined, [
      retryInfo(BUSY_RETRY_MS),
      errorInfo("COUNTS_UNAVAILABLE"),
    ]);
  }
  // If somebody is left to read this, it was the deadline that passed.
  return error instanceof QueryAbandonedError
    ? new ConnectError(error.message, Code.DeadlineExceeded)
    : undefined;
}

const GRANULARITY_NAMES: Readonly<Record<BucketUnit, string>> = {
  quarterHour: "GRANULARITY_QUARTER_HOUR",
  hour: "GRANULARITY_HOUR",
  day: "GRANULARITY_DAY",
  week: "GRANULARITY_WEEK",
  month: "GRANULARITY_MONTH",
};

/** For programs: what to ask for instead. */
function fitMetadata(fit: Fit | undefined): Record<string, string> {
  return fit === undefined ? {} : { granularity: GRANULARITY_NAMES[fit.unit], time_zone: fit.timeZone };
}

/** The caller may not do what it asks for. */
export function notPermitted(message: string): ConnectError {
  return new ConnectError(message, Code.PermissionDenied);
}

/** The service stops before what was pushed is on stable storage. */
export function abandoned({ message }: BatchAbandonedError): ConnectError {
  return new ConnectError(`${message}; push the same event_id again`, Code.Unavailable, undefined, [
    retryInfo(DRAINING_RETRY_MS),
    errorInfo("SHUTTING_DOWN"),
  ]);
}

/**
 * The call does not prove who makes it. One message for all that may be wrong with a token: a better one would help
 * those who guess.
 */
export function unauthenticated(): ConnectError {
  // RFC 6750, section 3.
  const metadata = { "www-authenticate": "Bearer" };
  return new ConnectError("a valid bearer token is required", Code.Unauthenticated, metadata);
}

/** The caller's time, or ours, was over before what was pushed was on stable storage. */
export function durableTimeout(): ConnectError {
  return new ConnectError(
    "queued, but not yet on stable storage; to ask again, push the same event_id",
    Code.DeadlineExceeded,
  );
}

/** As many calls wait for durability as may. */
export function tooManyCalls(maxWaiting: number): ConnectError {
  return new ConnectError(
    `${maxWaiting} calls wait for durability already; nothing was recorded, try again`,
    Code.ResourceExhausted,
    undefined,
    [retryInfo(BUSY_RETRY_MS), errorInfo("TOO_MANY_CALLS")],
  );
}

/** Too many large requests are on their way at the same time. */
export function noRoomForBody(): ConnectError {
  return new ConnectError(
    "too many large requests are arriving; nothing was recorded, try again",
    Code.ResourceExhausted,
    undefined,
    [retryInfo(BUSY_RETRY_MS), errorInfo("TOO_MANY_LARGE_REQUESTS")],
  );
}

type RejectionInit = MessageInitShape<typeof RejectionSchema>;

/** What is said of an event of a batch that is refused. */
export function rejectionOf(index: number, refusal: Refusal): RejectionInit {
  const { rejection: reason = RejectionReason.UNSPECIFIED } = ANSWERS[refusal.reason];
  const retry =
    refusal.retryAfterMs === undefined ? {} : { retryDelay: durationFromMs(refusal.retryAfterMs) };
  if (reason !== RejectionReason.INVALID) {
    return { index, reason, message: refusal.message, ...retry };
  }
  const violations = refusal.violations ?? [];
  return {
    index,
    reason,
    // The violations say what is wrong: 10,000 rejections must fit in the 4 MiB that gRPC clients take.
    message: `invalid ${violations.map(({ field }) => field).join(", ")}`,
    violations: violations.map(({ field, description }) => ({ field, description })),
  };
}

type Detail = NonNullable<ConstructorParameters<typeof ConnectError>[3]>[number];

function badRequest(violations: readonly FieldViolation[]): Detail {
  return {
    desc: BadRequestSchema,
    value: create(BadRequestSchema, {
      fieldViolations: violations.map(({ field, description }) => ({ field, description })),
    }),
  };
}

function retryInfo(delayMs: number): Detail {
  const retryDelay: MessageInitShape<typeof DurationSchema> = durationFromMs(delayMs);
  return { desc: RetryInfoSchema, value: create(RetryInfoSchema, { retryDelay }) };
}

function errorInfo(reason: string, metadata: Record<string, string> = {}): Detail {
  return {
    desc: ErrorInfoSchema,
    value: create(ErrorInfoSchema, { domain: ERROR_DOMAIN, reason, metadata }),
  };
}
