/** Where the log's lines go: written at once while their reader keeps up, or kept for a moment, or lost; it never waits or throws. */
import { constants, fstatSync, openSync, writeSync } from "node:fs";
import { backgroundClock, type Clock } from "../util/clock.js";
import { codeOf, messageOf } from "../util/error-message.js";

const STDOUT_FD = 1;
const STDERR_FD = 2;
/** Lines that are kept for a reader that is slow, in bytes. */
const PENDING_MAX_BYTES = 1024 * 1024;
/** How often it is tried whether such a reader reads again. */
const RETRY_MS = 50;
/** What the end of the process may wait for it, in all. */
const LAST_TRIES_MAX = 20;
const LAST_PAUSE_MS = 50;

export interface LogDestinationDeps {
  /** Writes some of the bytes, and says how many; throws EAGAIN rather than wait. Default: to standard output. */
  readonly write?: (bytes: Buffer) => number;
  /** Tells the operator while the log cannot. It may throw. Default: on standard error. */
  readonly complain?: (text: string) => void;
  readonly clock?: Pick<Clock, "schedule">;
  /** Lets time pass without letting anything else run; for the end of the process alone. */
  readonly pause?: (ms: number) => void;
  /** Hears, when the log can be written again, how many lines were lost. */
  readonly onRecovered: (lostLines: number) => void;
}

/**
 * pino's destination. Logging must take no event with it. A reader that is slow (a pipe, a terminal that was stopped) gets
 * its lines later; beyond {@link PENDING_MAX_BYTES} of them, and while they cannot be written at all (on a full disk
 * perhaps), lines are lost, and counted. pino's own throws then, or keeps the lines in memory without bound, and waits
 * without end at a fatal one.
 */
export class LogDestination {
  readonly #write: (bytes: Buffer) => number;
  readonly #complain: (text: string) => void;
  readonly #clock: Pick<Clock, "schedule">;
  readonly #pause: (ms: number) => void;
  readonly #onRecovered: (lostLines: number) => void;
  /** Lines that the reader has no room for yet, the first of which may have been written in part. */
  #pending: Buffer[] = [];
  #pendingBytes = 0;
  #cancelRetry: (() => void) | undefined;
  /** Since the last line that could be written. */
  #lostLines = 0;
  /** The first pending line has been written in part. */
  #isBegun = false;
  /** The last bytes written are the beginning of a lost line: the next one must not run into it. */
  #isCut = false;

  constructor(deps: LogDestinationDeps) {
    this.#write = deps.write ?? writerOf(STDOUT_FD);
    this.#complain = deps.complain ?? complainOnStderr;
    this.#clock = deps.clock ?? backgroundClock;
    this.#pause = deps.pause ?? sleep;
    this.#onRecovered = deps.onRecovered;
  }

  /** Writes a line, which has its newline. */
  write(line: string): void {
    const bytes = Buffer.from(line);
    if (this.#pendingBytes + bytes.length > PENDING_MAX_BYTES) {
      this.#lose(1, "its reader does not read");
      return;
    }
    this.#pending.push(bytes);
    this.#pendingBytes += bytes.length;
    this.#drain();
  }

  /** Gives a slow reader a second, the last that it gets. For the end of the process. */
  end(): void {
    for (let tries = 0; this.#pending.length > 0 && tries < LAST_TRIES_MAX; tries++) {
      this.#pause(LAST_PAUSE_MS);
      this.#drain();
    }
    this.#cancelRetry?.();
    const lost = this.#lostLines + this.#pending.length;
    if (lost > 0) {
      this.#tell(`${lost} lines of the log are lost`);
    }
  }

  #drain(): void {
    try {
      for (let line = this.#pending[0]; line !== undefined; line = this.#pending[0]) {
        this.#writeSome(line);
      }
    } catch (error) {
      if (codeOf(error) === "EAGAIN") {
        this.#cancelRetry ??= this.#clock.schedule(RETRY_MS, () => {
          this.#cancelRetry = undefined;
          this.#drain();
        });
        return;
      }
      const lines = this.#pending.length;
      this.#pending = [];
      this.#pendingBytes = 0;
      this.#isCut ||= this.#isBegun;
      this.#isBegun = false;
      this.#lose(lines, messageOf(error));
      return;
    }
    const lost = this.#lostLines;
    if (lost > 0) {
      this.#lostLines = 0;
      this.#onRecovered(lost);
    }
  }

  /** Writes of the first pending line as much as there is room for. */
  #writeSome(line: Buffer): void {
    if (this.#isCut) {
      this.#write(Buffer.from("\n"));
      this.#isCut = false;
    }
    const written = this.#write(line);
    this.#pendingBytes -= written;
    this.#isBegun = written < line.length;
    if (written === line.length) {
      this.#pending.shift();
    } else {
      this.#pending[0] = line.subarray(written);
    }
  }

  #lose(lines: number, reason: string): void {
    if (this.#lostLines === 0) {
      this.#tell(`the log cannot be written, and its lines are lost until it can: ${reason}`);
    }
    this.#lostLines += lines;
  }

  #tell(text: string): void {
    try {
      this.#complain(`stats-service: ${text}\n`);
    } catch {
      // There is nowhere left to say so.
    }
  }
}

function complainOnStderr(text: string): void {
  writerOf(STDERR_FD)(Buffer.from(text));
}

const writers = new Map<number, (bytes: Buffer) => number>();

/** Writes to standard output or standard error, without waiting for whoever reads it. */
function writerOf(fd: number): (bytes: Buffer) => number {
  const open = writers.get(fd) ?? openWriter(fd);
  writers.set(fd, open);
  return open;
}

function openWriter(fd: number): (bytes: Buffer) => number {
  const target = nonBlocking(fd);
  return (bytes) => writeSync(target, bytes);
}

/** A descriptor for what `fd` writes to, on which a write does not wait for room. */
function nonBlocking(fd: number): number {
  const stats = fstatSync(fd);
  if (stats.isFile()) {
    // Has no reader to wait for; opened anew it would be written from its beginning.
    return fd;
  }
  try {
    // One of our own: others that write to the same pipe or terminal may count on waiting.
    return openSync(`/proc/self/fd/${fd}`, constants.O_WRONLY | constants.O_NONBLOCK | constants.O_NOCTTY);
  } catch {
    // A socket, another user's pipe, no Linux. Node makes its streams of pipes and sockets non-blocking.
    void (fd === STDOUT_FD ? process.stdout : process.stderr);
    return fd;
  }
}

function sleep(ms: number): void {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms);
}
