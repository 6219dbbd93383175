/** Lets only those call who prove who they are, and says who they are; it never looks into a message. */
import type { Caller } from "../auth/caller.js";
import { unauthenticated } from "./errors.js";
import type { UnaryInterceptor } from "./unary-method.js";

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
