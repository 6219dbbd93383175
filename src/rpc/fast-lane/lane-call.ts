/** One call on the fast lane as its handler sees it; it never reads or writes a message. */
import type { ServerResponse } from "node:http";
import type { IncomingHttpHeaders, ServerHttp2Stream } from "node:http2";
import { Code, ConnectError } from "@connectrpc/connect";
import type { Clock } from "../../clock.js";
import type { CallContext } from "../unary-method.js";

/** What the answer is written to: closed before that, the caller has left. */
export type CallOutput = ServerResponse | ServerHttp2Stream;

/** A call's context. Make it when the header has come: the caller's time runs from then. */
export class LaneCall implements CallContext {
  readonly peer: Uint8Array;
  readonly arrivedAt: number;
  readonly #headers: IncomingHttpHeaders;
  readonly #output: CallOutput;
  readonly #clock: Clock;
  /** By {@link Clock.elapsed}. */
  readonly #deadlineAt: number | undefined;
  #controller: AbortController | undefined;
  #unwatch: (() => void) | undefined;

  constructor(
    peer: Uint8Array,
    headers: IncomingHttpHeaders,
    output: CallOutput,
    timeoutMs: number | undefined,
    clock: Clock,
  ) {
    this.peer = peer;
    this.#headers = headers;
    this.#output = output;
    this.#clock = clock;
    this.arrivedAt = clock.elapsed();
    this.#deadlineAt = timeoutMs === undefined ? undefined : this.arrivedAt + timeoutMs;
  }

  header(name: string): string | undefined {
    const value = this.#headers[name];
    return Array.isArray(value) ? value.join(", ") : value;
  }

  signal(): AbortSignal {
    if (this.#controller === undefined) {
      this.#controller = new AbortController();
      this.#watch(this.#controller);
    }
    return this.#controller.signal;
  }

  /** The handler is done: nothing aborts the signal any more. */
  end(): void {
    this.#unwatch?.();
  }

  #watch(controller: AbortController): void {
    const leftMs = this.#deadlineAt === undefined ? undefined : this.#deadlineAt - this.#clock.elapsed();
    if (this.#output.destroyed) {
      controller.abort(callerHasLeft());
    } else if (leftMs !== undefined && leftMs <= 0) {
      controller.abort(timeIsOver());
    } else {
      const onTimeout = () => controller.abort(timeIsOver());
      const cancelTimer = leftMs === undefined ? undefined : this.#clock.schedule(leftMs, onTimeout);
      const onClose = () => {
        cancelTimer?.();
        controller.abort(callerHasLeft());
      };
      this.#output.once("close", onClose);
      this.#unwatch = () => {
        cancelTimer?.();
        this.#output.off("close", onClose);
      };
    }
  }
}

function timeIsOver(): ConnectError {
  return new ConnectError("the operation timed out", Code.DeadlineExceeded);
}

function callerHasLeft(): ConnectError {
  return new ConnectError("the caller has left", Code.Canceled);
}
