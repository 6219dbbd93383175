/** Lets only those call who prove who they are, and says who they are; it never looks into a message. */
import type { Caller } from "../auth/token-store.js";
import type { Refusal } from "../ingest/refusal.js";
import { unauthenticated } from "./errors.js";
import { methodPath, type UnaryInterceptor, type UnaryMethod } from "./unary-method.js";

/** Why an event is refused whose property the caller may not push. It never has the property itself, which may be long. */
export const PROPERTY_DENIED = {
  reason: "permission_denied",
  message: "is not one of those that the token allows",
  violations: [{ field: "property", description: "is not one of those that the token allows" }],
} as const satisfies Refusal;

/** Tells who sends a header Authorization. */
export interface Identification {
  /** Undefined: it proves nothing. */
  identify(authorization: string | undefined): Caller | undefined;
}

/** Makes the interceptor: what is further in has a `caller` in the call's context. */
export function authenticate(tokens: Identification): UnaryInterceptor {
  return (next) => (request, call) => {
    call.caller = tokens.identify(call.header("authorization"));
    if (call.caller === undefined) {
      throw unauthenticated();
    }
    return next(request, call);
  };
}

/** Whether a call to a path, with this header Authorization, will be refused whatever its message is. */
export type RefusesByHeader = (path: string, authorization: string | undefined) => boolean;

/**
 * Tells which calls to `methods` the interceptor will refuse. Asked before a message is read, it keeps callers without a
 * token from taking the memory and time that a message does.
 */
export function refusesUnknown(tokens: Identification, methods: readonly UnaryMethod[]): RefusesByHeader {
  const paths = new Set(methods.map(({ desc }) => methodPath(desc)));
  return (path, authorization) => paths.has(path) && tokens.identify(authorization) === undefined;
}
