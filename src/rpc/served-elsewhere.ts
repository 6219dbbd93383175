/** Answers the calls that a process of this role does not serve: says which other does. */
import { Code, ConnectError } from "@connectrpc/connect";
import type { UnaryInterceptor } from "./unary-method.js";

/** What a writer says to a push. */
export const PUSHES_ELSEWHERE =
  "this is a writer (ROLE=writer), which takes no events: push to an edge (ROLE=edge)";
/** What an edge says to a query. */
export const QUERIES_ELSEWHERE =
  "this is an edge (ROLE=edge), which has no database: ask a writer (ROLE=writer), or a service with ROLE=all";

/** Makes the interceptor that refuses every call with UNIMPLEMENTED, and says where to go. */
export function servedElsewhere(where: string): UnaryInterceptor {
  return () => () => {
    throw new ConnectError(where, Code.Unimplemented);
  };
}
