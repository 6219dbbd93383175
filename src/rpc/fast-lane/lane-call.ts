/** One call on the fast lane as its handler sees it; it never reads or writes a message. */
import type { ServerResponse } from "node:http";
import type { IncomingHttpHeaders, ServerHttp2Stream } from "node:http2";
import type { Caller } from "../../auth/caller.js";
import type { Clock } from "../../util/clock.js";
import type { CallContext } from "../unary-method.js";

/** What the answer is written to: closed before that, the caller has left. */
export type CallOutput = ServerResponse | ServerHttp2Stream;

/** A call's context. Make it when the header has come: the caller's time runs from then. */
export class LaneCall implements CallContext {
  readonly address: Uint8Array;
  caller: Caller | undefined;
  readonly arrivedAt: number;
  readonly #headers: IncomingHttpHeaders;
  readonly #output: CallOutput;
  readonly #clock: Clock;
  /** By {@link Clock.elapsed}. */
  readonly #deadlineAt: number | undefined;
  /** Set while the handler waits. */
  #onAbandoned: (() => void) | undefined;
  #cancelTimer: (() => void) | undefined;

  constructor(
    address: Uint8Array,
    headers: IncomingHttpHeaders,
    output: CallOutput,
    timeoutMs: number | undefined,
    clock: Clock,
  ) {
    this.address = address;
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

  onAbandoned(listener: () => void): void {
    const leftMs = this.#deadlineAt === undefined ? undefined : this.#deadlineAt - this.#clock.elapsed();
    if (this.#output.destroyed || (leftMs !== undefined && leftMs <= 0)) {
      listener();
      return;
    }
    this.#onAbandoned = listener;
    // Nobody takes this listener off: an output is of one call, and closes after its answer, too.
    this.#output.on("close", () => this.#abandon());
    if (leftMs !== undefined) {
      this.#cancelTimer = this.#clock.schedule(leftMs, () => this.#abandon());
    }
  }

  /** The handler is done: it is told nothing any more. */
  end(): void {
    this.#onAbandoned = undefined;
    this.#cancelTimer?.();
  }

  #abandon(): void {
    const listener = this.#onAbandoned;
    this.end();
    listener?.();
  }
}
