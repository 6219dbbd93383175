/** Tells, for those who watch calls, when one has ended and how; it changes no answer. */
import type { DescMethodUnary } from "@bufbuild/protobuf";
import { Code, ConnectError } from "@connectrpc/connect";
import { codeToString } from "@connectrpc/connect/protocol-connect";
import type { CallContext, UnaryInterceptor } from "../rpc/unary-method.js";

/** How a call ended: 0 is OK, the others are Connect's codes, which are gRPC's too. */
export type CallCode = Code | typeof CALL_OK;

export const CALL_OK = 0;

/** Called when a call has its answer, which has not been written yet. It must not throw. */
export type CallEndListener = (call: CallContext, code: CallCode) => void;

/** For example `ok` or `invalid_argument`. */
export function callCodeName(code: CallCode): string {
  return code === CALL_OK ? "ok" : codeToString(code);
}

/** The code that the caller of a call that ended with `error` gets. */
export function callCodeOf(error: unknown): Code {
  return error instanceof ConnectError ? error.code : Code.Internal;
}

/** An interceptor that tells of each call's end; `listen` makes the listener of a method. */
export function onCallEnd(listen: (method: DescMethodUnary) => CallEndListener): UnaryInterceptor {
  return (next, method) => {
    const onEnd = listen(method);
    return (request, call) => {
      let answer: ReturnType<typeof next>;
      try {
        answer = next(request, call);
      } catch (error) {
        onEnd(call, callCodeOf(error));
        throw error;
      }
      if (answer instanceof Promise) {
        return whenSettled(answer, call, onEnd);
      }
      onEnd(call, CALL_OK);
      return answer;
    };
  };
}

async function whenSettled<T>(answer: Promise<T>, call: CallContext, onEnd: CallEndListener): Promise<T> {
  try {
    const message = await answer;
    onEnd(call, CALL_OK);
    return message;
  } catch (error) {
    onEnd(call, callCodeOf(error));
    throw error;
  }
}
