/** The loop of a background job that must not die: whatever a step throws is logged, and the loop goes on. */
import type { Logger } from "pino";
import { type BackoffOptions, backoffMs } from "./backoff.js";
import { messageOf } from "./error-message.js";
import type { Waker } from "./waker.js";

/** What follows a step: the next one at once; the next one after a wake-up, or after `waitMs`; or the end of the loop. */
export type NextStep = "again" | "end" | { readonly waitMs?: number };

export interface SupervisedLoopDeps {
  /** Names the loop in the log and in {@link SupervisedLoop.fault}, for example `the flush loop`. */
  readonly name: string;
  /** Does what is due. All state of the job is outside, so that a step which threw can be repeated. */
  readonly step: () => NextStep | Promise<NextStep>;
  /** Ends the wait for the next step, and the pause after a fault. */
  readonly waker: Waker;
  readonly logger: Logger;
}

const RESTART_BACKOFF: BackoffOptions = { firstMs: 100, maxMs: 10_000 };

/** Repeats a step until it says that the loop is to end. */
export class SupervisedLoop {
  readonly #deps: SupervisedLoopDeps;
  #crashes = 0;
  #fault: string | undefined;

  constructor(deps: SupervisedLoopDeps) {
    this.#deps = deps;
  }

  /** Why the loop is not working; undefined while its steps succeed. */
  get fault(): string | undefined {
    return this.#fault;
  }

  /** Resolves when the loop has ended. Never rejects. */
  async run(): Promise<void> {
    for (let next = await this.#step(); next !== "end"; next = await this.#step()) {
      if (next !== "again") {
        await this.#deps.waker.wait(next.waitMs);
      }
    }
  }

  async #step(): Promise<NextStep> {
    const { name, step, logger } = this.#deps;
    try {
      const next = await step();
      this.#crashes = 0;
      this.#fault = undefined;
      return next;
    } catch (error) {
      this.#crashes += 1;
      this.#fault = `${name} failed: ${messageOf(error)}`;
      logger.error(
        { err: error, loop: name, crashes: this.#crashes },
        "a background loop failed and restarts",
      );
      // Without jitter: it is this process alone that waits, and what has failed may be the source of chance.
      return { waitMs: backoffMs(this.#crashes, RESTART_BACKOFF, () => 1) };
    }
  }
}
