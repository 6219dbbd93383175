/** Turns the errors of the domain into what callers see: the only place that knows Connect's codes for them. */
import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { type DurationSchema, durationFromMs } from "@bufbuild/protobuf/wkt";
import { Code, ConnectError } from "@connectrpc/connect";
import { BadRequestSchema, ErrorInfoSchema, RetryInfoSchema } from "../../gen/google/rpc/error_details_pb.js";
import { RejectionReason, type RejectionSchema } from "../../gen/stats/v1/stats_pb.js";
import { type FieldViolation, InvalidEventError } from "../ingest/admission.js";
import { BatchAbandonedError } from "../ingest/batch.js";
import { FairShareError, IntakeClosedError, QueueFullError, TooManyEventsError } from "../ingest/flusher.js";
import { PROPERTY_DENIED, PropertyDeniedError } from "./permission.js";

/** `domain` of google.rpc.ErrorInfo: who gives the reasons their meaning. */
const ERROR_DOMAIN = "stats.v1";

/** When to come back to a service that is being replaced: its successor is up, or another instance is. */
const DRAINING_RETRY_MS = 1_000;

/** When to come back to a service that has too much to do: what others wait for has been done by then, or given up. */
const BUSY_RETRY_MS = 1_000;

/** The error that a caller gets for `error`; undefined when it is not one of the domain's. */
export function toConnectError(error: unknown): ConnectError | undefined {
  if (error instanceof InvalidEventError) {
    return new ConnectError(error.message, Code.InvalidArgument, undefined, [badRequest(error.violations)]);
  }
  if (error instanceof PropertyDeniedError) {
    return new ConnectError(error.message, Code.PermissionDenied, undefined, [badRequest(error.violations)]);
  }
  if (error instanceof QueueFullError) {
    return new ConnectError(
      `${error.message}; nothing was recorded, try again in ${error.retryAfterMs} ms`,
      Code.ResourceExhausted,
      undefined,
      [
        retryInfo(error.retryAfterMs),
        errorInfo(error instanceof FairShareError ? "FAIR_SHARE" : "QUEUE_FULL"),
      ],
    );
  }
  if (error instanceof TooManyEventsError) {
    // No RetryInfo: the same call will never do.
    return new ConnectError(
      `${error.message}; nothing was recorded, send fewer`,
      Code.ResourceExhausted,
      undefined,
      [errorInfo("TOO_MANY_EVENTS")],
    );
  }
  if (error instanceof IntakeClosedError) {
    return new ConnectError(
      `${error.message}; nothing was recorded, try again`,
      Code.Unavailable,
      undefined,
      [retryInfo(DRAINING_RETRY_MS), errorInfo("SHUTTING_DOWN")],
    );
  }
  if (error instanceof BatchAbandonedError) {
    return new ConnectError(`${error.message}; push the same event_id again`, Code.Unavailable, undefined, [
      retryInfo(DRAINING_RETRY_MS),
      errorInfo("SHUTTING_DOWN"),
    ]);
  }
  return undefined;
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

/** What is said of an event of a batch that breaks the rules. */
export function invalidRejection(index: number, violations: readonly FieldViolation[]): RejectionInit {
  return {
    index,
    reason: RejectionReason.INVALID,
    // The violations say what is wrong: 10,000 rejections must fit in the 4 MiB that gRPC clients take.
    message: `invalid ${violations.map(({ field }) => field).join(", ")}`,
    violations: violations.map(({ field, description }) => ({ field, description })),
  };
}

/** What is said of an event of a batch whose property the caller may not push. */
export function deniedRejection(index: number): RejectionInit {
  return { index, reason: RejectionReason.PERMISSION_DENIED, message: PROPERTY_DENIED.description };
}

/** What is said of an event of a batch that there was no room for. */
export function queueFullRejection(index: number, error: QueueFullError): RejectionInit {
  const { QUEUE_FULL, FAIR_SHARE } = RejectionReason;
  return {
    index,
    reason: error instanceof FairShareError ? FAIR_SHARE : QUEUE_FULL,
    message: error.message,
    retryDelay: durationFromMs(error.retryAfterMs),
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

function errorInfo(reason: string): Detail {
  return { desc: ErrorInfoSchema, value: create(ErrorInfoSchema, { domain: ERROR_DOMAIN, reason }) };
}
