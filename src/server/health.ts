/** Whether the process serves and lives: a holder that the others push into; it never probes by itself. */

/** Whether calls should be sent here. */
export type ServingStatus = "serving" | "not serving";

/**
 * The answer to a health question; the reason is one line for the operator. With a good answer: in which of several
 * processes it is not so good.
 */
export type Probe =
  | { readonly ok: true; readonly reason?: string }
  | { readonly ok: false; readonly reason: string };

/** The reason why a part is dead; undefined while it lives. Must be cheap and must not throw. */
export type LivenessCheck = () => string | undefined;

const OK: Probe = Object.freeze({ ok: true });

/**
 * Readiness is what was pushed last and starts as not serving, "starting"; liveness is asked of each check.
 *
 * `not serving` ⇄ `serving` by setServing() and setNotServing(); → closed, for good and not serving, by close().
 */
export class Health implements AsyncDisposable {
  readonly #checks = new Map<string, LivenessCheck>();
  /** One for each watcher that waits for a change; each takes itself out. */
  readonly #wakers = new Set<() => void>();
  #reason: string | undefined = "starting";
  #closed = false;

  /** The service is ready for calls. No effect after close(). */
  setServing(): void {
    this.#set(undefined);
  }

  /** The service is not ready, and why. */
  setNotServing(reason: string): void {
    this.#set(reason);
  }

  /** Adds a part whose death makes the process not alive. A second check of the same name replaces the first. */
  addLivenessCheck(name: string, check: LivenessCheck): void {
    this.#checks.set(name, check);
  }

  /** Whether all parts live; the reason names each one that does not. */
  liveness(): Probe {
    const dead: string[] = [];
    for (const [name, check] of this.#checks) {
      const reason = check();
      if (reason !== undefined) {
        dead.push(`${name}: ${reason}`);
      }
    }
    return dead.length === 0 ? OK : { ok: false, reason: dead.join("; ") };
  }

  /** Whether the service is ready for calls, or why not. */
  readiness(): Probe {
    return this.#reason === undefined ? OK : { ok: false, reason: this.#reason };
  }

  /**
   * The status now and each change of it, until `signal` aborts or close() is called; the last is then "not
   * serving". A reader that is slower than the changes gets the newest and misses those between.
   */
  async *watch(signal: AbortSignal): AsyncGenerator<ServingStatus, void, undefined> {
    let told: ServingStatus | undefined;
    while (!signal.aborted) {
      const status: ServingStatus = this.#reason === undefined ? "serving" : "not serving";
      if (status !== told) {
        told = status;
        yield status;
      } else if (this.#closed) {
        return;
      } else {
        await this.#change(signal);
      }
    }
  }

  /** Not serving for good: each watch says so and ends. */
  async close(): Promise<void> {
    if (!this.#closed) {
      this.#set(this.#reason ?? "stopping");
      this.#closed = true;
      this.#wake();
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  #set(reason: string | undefined): void {
    // After close() a reason may still get more exact, but nothing makes the service ready again.
    if (!(this.#closed && reason === undefined)) {
      this.#reason = reason;
      this.#wake();
    }
  }

  #wake(): void {
    for (const wake of this.#wakers) {
      wake();
    }
  }

  /** Resolves at the next change or when `signal` aborts; leaves nothing behind on either. */
  #change(signal: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      const wake = () => {
        this.#wakers.delete(wake);
        signal.removeEventListener("abort", wake);
        resolve();
      };
      this.#wakers.add(wake);
      signal.addEventListener("abort", wake, { once: true });
    });
  }
}
