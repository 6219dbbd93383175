/** Lets only those call who prove who they are and may do what they ask for; it never looks into a message. */
import type { TokenPermission } from "../auth/token-file.js";
import type { Caller } from "../auth/token-store.js";
import type { Refusal } from "../ingest/refusal.js";
import { notPermitted, unauthenticated } from "./errors.js";
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

/** Makes the interceptor that lets a caller with a token do only what the token allows. */
export function permit(permission: TokenPermission): UnaryInterceptor {
  return (next) => (request, call) => {
    if (call.caller?.may.has(permission) === false) {
      throw notPermitted(
        `the token does not allow to ${permission}: one made by "token create --may ${permission}" does`,
      );
    }
    return next(request, call);
  };
}

/** What decides whether callers without a token may read. */
export interface ReadAccess {
  /** Only this machine can reach the port. */
  readonly isLocal: boolean;
  readonly hasTokens: boolean;
  /** The operator has opened it. */
  readonly isOpen: boolean;
}

/**
 * Why nobody may read, and what to do about it; undefined where callers may. A service that took pushes from everyone
 * before there were counts does not show them to everyone after an upgrade.
 */
export function whyReadingIsClosed({ isLocal, hasTokens, isOpen }: ReadAccess): string | undefined {
  return isLocal || hasTokens || isOpen
    ? undefined
    : "counts are not shown: HOST can be reached from other machines and there are no tokens; set AUTH_TOKENS_FILE, or COUNTS_ACCESS=open to show them to everyone";
}

/** Makes the interceptor that refuses every call, for this reason. */
export function refuse(reason: string): UnaryInterceptor {
  return () => () => {
    throw notPermitted(reason);
  };
}
