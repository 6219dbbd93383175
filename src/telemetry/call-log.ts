/** The log's line for each call, at level debug: what was called and how it ended, never what was in it. */
import type { Logger } from "pino";
import type { UnaryInterceptor } from "../rpc/unary-method.js";
import type { Clock } from "../util/clock.js";
import { callCodeName, onCallEnd } from "./call-end.js";

export interface CallLogDeps {
  readonly logger: Logger;
  readonly clock: Clock;
}

/** Makes the interceptor. Leave it out of the chain when the level is higher: a line that is not written costs, too. */
export function createCallLog({ logger, clock }: CallLogDeps): UnaryInterceptor {
  return onCallEnd(({ name: method }) => (call, code) => {
    const durationMs = Math.round((clock.elapsed() - call.arrivedAt) * 1e3) / 1e3;
    logger.debug({ method, code: callCodeName(code), durationMs }, "call");
  });
}
