/** How long `push` waits for a service that does not answer, and what it says meanwhile; it calls nothing itself. */
import { type Clock, TIMER_MAX_MS } from "../../util/clock.js";
import type { Diagnosis } from "./diagnosis.js";

export interface PatienceDeps {
  readonly clock: Clock;
  /** When events wait for so long and none gets an answer, the service is out of reach. */
  readonly patienceMs: number;
  /** Finds out why a call failed. Never rejects. */
  readonly diagnose: (error: unknown) => Promise<Diagnosis>;
  /** Told why there is no answer, each reason once. */
  readonly onWaiting: (reason: string) => void;
  readonly onGivenUp: (reason: string) => void;
}

/** After this time without an answer the one who waits is told, in milliseconds. */
const SILENCE_MS = 2_000;

/** `idle` → `waiting` when an event is on its way → `failing` when a call has failed → `idle` when an answer comes. */
export class Patience {
  readonly #deps: PatienceDeps;
  readonly #said = new Set<string>();
  /** On the clock's `elapsed()`; events wait for an answer since then, and none has got one. */
  #waitingSince: number;
  #cancelTimers: (() => void)[] = [];
  #isFailing = false;
  /** Of the first call that failed since the last answer. */
  #diagnosis: Promise<Diagnosis> | undefined;

  constructor(deps: PatienceDeps) {
    this.#deps = deps;
    this.#waitingSince = deps.clock.elapsed();
  }

  /** Nothing suggests that an answer comes soon. */
  get isFailing(): boolean {
    return this.#isFailing;
  }

  /** The first event begins to wait, or one got its answer; `isWaiting`: there are others that wait. */
  restart(isWaiting: boolean): void {
    this.close();
    const { clock } = this.#deps;
    this.#waitingSince = clock.elapsed();
    this.#isFailing = false;
    this.#diagnosis = undefined;
    if (isWaiting) {
      this.#after(SILENCE_MS, () => {
        this.#isFailing = true;
        this.#say(`no answer for ${SILENCE_MS / 1_000} s`);
      });
    }
  }

  /** A call failed, and may be made again. */
  failed(error: unknown): void {
    const { clock, patienceMs, diagnose, onGivenUp } = this.#deps;
    this.#isFailing = true;
    this.close();
    if (this.#diagnosis === undefined) {
      this.#diagnosis = diagnose(error);
      void this.#heed(this.#diagnosis);
    }
    const diagnosis = this.#diagnosis;
    const leftMs = Math.max(0, this.#waitingSince + patienceMs - clock.elapsed());
    // By a timer: the next call may be made much later.
    this.#after(leftMs, () => void diagnosis.then(({ message }) => onGivenUp(message)));
  }

  /** Ends the timers. Safe more than once. */
  close(): void {
    for (const cancel of this.#cancelTimers.splice(0)) {
      cancel();
    }
  }

  async #heed(diagnosis: Promise<Diagnosis>): Promise<void> {
    const { message, canPass } = await diagnosis;
    if (diagnosis !== this.#diagnosis) {
      // An answer came meanwhile.
      return;
    }
    if (canPass) {
      this.#say(message);
    } else {
      this.#deps.onGivenUp(message);
    }
  }

  #say(reason: string): void {
    if (!this.#said.has(reason)) {
      this.#said.add(reason);
      this.#deps.onWaiting(reason);
    }
  }

  #after(ms: number, work: () => void): void {
    this.#cancelTimers.push(this.#deps.clock.schedule(Math.min(TIMER_MAX_MS, ms), work));
  }
}
