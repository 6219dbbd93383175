/** Questions to one worker, and their answers, which come by message; it sends nothing itself. */
import type { Clock } from "../../util/clock.js";

/** A worker looks at its database for two seconds at most. */
const TIMEOUT_MS = 3_000;

/** The questions of one kind that have no answer yet. */
export class WorkerRequests<Answer> {
  readonly #clock: Clock;
  readonly #open = new Map<number, (answer: Answer | undefined) => void>();
  #last = 0;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Asks by `send`; resolves with the answer, or undefined when there is none in time. */
  ask(send: (request: number) => void): Promise<Answer | undefined> {
    this.#last += 1;
    const request = this.#last;
    return new Promise((resolve) => {
      const cancel = this.#clock.schedule(TIMEOUT_MS, () => this.answer(request, undefined));
      this.#open.set(request, (answer) => {
        cancel();
        resolve(answer);
      });
      send(request);
    });
  }

  /** The answer has come. One that nobody waits for any more is forgotten. */
  answer(request: number, answer: Answer | undefined): void {
    this.#open.get(request)?.(answer);
    this.#open.delete(request);
  }

  /** No answer will come any more. */
  abandon(): void {
    for (const request of this.#open.keys()) {
      this.answer(request, undefined);
    }
  }
}
