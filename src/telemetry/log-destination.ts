/** Where the log's lines go: each is written before the call returns, or lost; it never throws. */
import { writeSync } from "node:fs";
import { codeOf, messageOf } from "../util/error-message.js";

const STDOUT_FD = 1;
const STDERR_FD = 2;
/** A reader that is slow is waited for, a second at most. */
const BUSY_TRIES_MAX = 20;
const BUSY_PAUSE_MS = 50;

export interface LogDestinationDeps {
  /** Writes some of the bytes, and says how many. Default: to standard output. */
  readonly write?: (bytes: Buffer) => number;
  /** Tells the operator while the log cannot. It may throw. Default: on standard error. */
  readonly complain?: (text: string) => void;
  /** Lets time pass without letting anything else run. */
  readonly pause?: (ms: number) => void;
  /** Hears, when the log can be written again, how many lines were lost. */
  readonly onRecovered: (lostLines: number) => void;
}

/**
 * pino's destination. Logging must take no event with it: lines are lost while they cannot be written, on a full disk
 * perhaps. pino's own throws then, keeps the lines in memory without bound, and waits without end at a fatal one.
 */
export class LogDestination {
  readonly #write: (bytes: Buffer) => number;
  readonly #complain: (text: string) => void;
  readonly #pause: (ms: number) => void;
  readonly #onRecovered: (lostLines: number) => void;
  /** Since the last line that could be written. */
  #lostLines = 0;
  /** True when the last bytes written are the beginning of a lost line: the next one must not run into it. */
  #isCut = false;

  constructor(deps: LogDestinationDeps) {
    this.#write = deps.write ?? ((bytes) => writeSync(STDOUT_FD, bytes));
    this.#complain = deps.complain ?? ((text) => void writeSync(STDERR_FD, text));
    this.#pause = deps.pause ?? sleep;
    this.#onRecovered = deps.onRecovered;
  }

  /** Writes a line, which has its newline. */
  write(line: string): void {
    try {
      this.#writeAll(Buffer.from(this.#isCut ? `\n${line}` : line));
    } catch (error) {
      this.#lose(error);
      return;
    }
    const lost = this.#lostLines;
    if (lost > 0) {
      this.#lostLines = 0;
      this.#onRecovered(lost);
    }
  }

  #writeAll(bytes: Buffer): void {
    for (let written = 0; written < bytes.length; ) {
      written += this.#writeSome(bytes.subarray(written));
      this.#isCut = written < bytes.length;
    }
  }

  #writeSome(bytes: Buffer): number {
    for (let tries = 1; ; tries++) {
      try {
        return this.#write(bytes);
      } catch (error) {
        const isBusy = codeOf(error) === "EAGAIN";
        // Who waited in vain once does not wait at each line.
        if (!isBusy || this.#lostLines > 0 || tries === BUSY_TRIES_MAX) {
          throw error;
        }
        this.#pause(BUSY_PAUSE_MS);
      }
    }
  }

  #lose(error: unknown): void {
    this.#lostLines += 1;
    if (this.#lostLines > 1) {
      return;
    }
    try {
      this.#complain(
        `stats-service: the log cannot be written, and its lines are lost until it can: ${messageOf(error)}\n`,
      );
    } catch {
      // There is nowhere left to say so.
    }
  }
}

function sleep(ms: number): void {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms);
}
