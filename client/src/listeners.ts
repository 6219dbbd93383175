/** Tells the caller what becomes of events: by the callbacks of the options or, once, by a warning where there is none. */
import type { ConnectError } from "@connectrpc/connect";
import type { StatsEvent } from "./event.js";
import type { BufferingOptions, Failure, Rejection } from "./options.js";

/** Calls fail for a moment now and then, when the service is restarted for example. */
const FAILURES_MIN = 3;

export interface ListenersDeps {
  readonly options: BufferingOptions;
  /** Shows people a text. */
  readonly warn: (text: string) => void;
}

export class Listeners {
  readonly #options: BufferingOptions;
  readonly #warn: (text: string) => void;
  #mayWarnOfDropped: boolean;
  #mayWarnOfUndelivered: boolean;
  /** Calls that failed since one was answered. */
  #failures = 0;
  #lastError: ConnectError | undefined;

  constructor({ options, warn }: ListenersDeps) {
    const { warnings = true, onRejected, onError } = options;
    this.#options = options;
    this.#warn = warn;
    this.#mayWarnOfDropped = warnings && onRejected === undefined;
    this.#mayWarnOfUndelivered = warnings && onError === undefined;
  }

  rejected(rejection: Rejection): void {
    call(this.#options.onRejected, rejection);
    if (this.#mayWarnOfDropped) {
      this.#mayWarnOfDropped = false;
      this.#warn(
        `stats-service client: an event was dropped: ${rejection.message} (onRejected tells of each one)`,
      );
    }
  }

  acknowledged(events: readonly StatsEvent[]): void {
    this.#failures = 0;
    call(this.#options.onAcknowledged, events);
  }

  /** `severity`: it may pass; or a person must correct something; or the end is near, and {@link lost} has the last word. */
  failed(failure: Failure, severity: "passing" | "lasting" | "ending"): void {
    this.#failures += 1;
    this.#lastError = failure.error;
    if (severity === "lasting" || (severity === "passing" && this.#failures >= FAILURES_MIN)) {
      this.#warnOfUndelivered(`${failure.events} events wait, since calls fail`);
    }
    call(this.#options.onError, failure);
  }

  /** The program ends, and these events with it. */
  lost(events: number): void {
    this.#warnOfUndelivered(`the program ends with ${events} events that were not delivered`);
  }

  #warnOfUndelivered(what: string): void {
    if (this.#mayWarnOfUndelivered) {
      this.#mayWarnOfUndelivered = false;
      const why = this.#lastError === undefined ? "" : `: ${this.#lastError.message}`;
      this.#warn(`stats-service client: ${what}${why} (onError tells of each failure)`);
    }
  }
}

/** An error in a callback is the caller's bug: it surfaces as one that nobody caught, and harms nothing here. */
function call<T>(callback: ((news: T) => void) | undefined, news: T): void {
  try {
    callback?.(news);
  } catch (error) {
    queueMicrotask(() => {
      throw error;
    });
  }
}
