/** Bounds the calls that wait for their events to be durable; calls that do not wait are none of its business. */
import { AckMode } from "../../gen/stats/v1/stats_pb.js";
import { tooManyCalls } from "./errors.js";
import type { UnaryInterceptor } from "./unary-method.js";

/**
 * Makes the interceptor. Of all methods together at most `maxWaiting` calls wait at a time; one more is refused before
 * its events are taken. Calls with ACK_MODE_QUEUED go through, however many wait.
 */
export function limitWaiting(maxWaiting: number): UnaryInterceptor {
  let waiting = 0;
  const leave = () => {
    waiting -= 1;
  };
  return (next) => (request, call) => {
    const { ack } = request as { readonly ack?: AckMode };
    if (ack === AckMode.DURABLE && waiting >= maxWaiting) {
      throw tooManyCalls(maxWaiting);
    }
    const answer = next(request, call);
    if (answer instanceof Promise) {
      waiting += 1;
      answer.then(leave, leave);
    }
    return answer;
  };
}
