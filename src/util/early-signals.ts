/** Signals that come while the program still loads: held until a command says what they mean to it; it decides nothing. */

const SIGNALS = ["SIGINT", "SIGTERM", "SIGHUP"] as const;

/** A signal that a command may want to handle. */
export type HeldSignal = (typeof SIGNALS)[number];

/** `holding` from its making → `released`. While it holds none of them ends the process. */
export class EarlySignals {
  readonly #heard = new Set<HeldSignal>();
  readonly #hold = (signal: NodeJS.Signals) => void this.#heard.add(signal as HeldSignal);

  constructor() {
    for (const signal of SIGNALS) {
      process.on(signal, this.#hold);
    }
  }

  /** Calls `listener` for each such signal from here on, and at once if one has come. */
  on(signal: HeldSignal, listener: (signal: HeldSignal) => void): void {
    process.on(signal, () => listener(signal));
    if (this.#heard.delete(signal)) {
      listener(signal);
    }
  }

  /** Lets signals do what they do to a process that handles none, also those that have come. */
  release(): void {
    for (const signal of SIGNALS) {
      process.off(signal, this.#hold);
    }
    for (const signal of this.#heard) {
      process.kill(process.pid, signal);
    }
  }
}
