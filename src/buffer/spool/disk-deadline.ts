/**
 * Gives each call to a disk a deadline, for a disk that hangs (a network file system whose server is gone, a disk that
 * dies) answers neither way; it repeats no call, and does not know what a call does.
 */
import type { Logger } from "pino";
import type { Clock } from "../../util/clock.js";
import type { SpoolFs } from "./spool-fs.js";

/** The disk does not answer. A call that was begun may still have its effect, at any later time. */
export class DiskHangsError extends Error {
  override readonly name = "DiskHangsError";

  constructor() {
    super("the spool's disk does not answer");
  }
}

/** Throws any error but this one. */
export function unlessHanging(error: unknown): void {
  if (!(error instanceof DiskHangsError)) {
    throw error;
  }
}

/**
 * Longer than a sound disk takes under load; short enough that a stop can wait for it, past its own deadline, and
 * still end before the watchdog ends it.
 */
const DISK_TIMEOUT_MS = 10_000;

/**
 * Lets calls through, each for ten seconds at most. While one hangs beyond that, others are refused at once: a call in
 * the system cannot be taken back, and it holds one of the few threads that Node has for files. So whatever a call
 * that was given up still does is done before the next one begins.
 */
export class DiskDeadline {
  readonly #clock: Clock;
  readonly #logger: Logger;
  #hanging = 0;

  constructor(deps: { readonly clock: Clock; readonly logger: Logger }) {
    this.#clock = deps.clock;
    this.#logger = deps.logger;
  }

  /** True while a call that was given up has not come back. */
  get hangs(): boolean {
    return this.#hanging > 0;
  }

  /**
   * What `work` gives, if it comes in time: within ten seconds, or `timeoutMs`.
   *
   * @throws DiskHangsError, or what `work` rejects with
   */
  run<T>(work: () => Promise<T>, timeoutMs = DISK_TIMEOUT_MS): Promise<T> {
    if (this.hangs) {
      return Promise.reject(new DiskHangsError());
    }
    return new Promise((resolve, reject) => {
      let isLate = false;
      const cancel = this.#clock.schedule(timeoutMs, () => {
        isLate = true;
        this.#giveUp();
        reject(new DiskHangsError());
      });
      const onEnd = () => (isLate ? this.#comeBack() : cancel());
      work().finally(onEnd).then(resolve, reject);
    });
  }

  /** The same file system, with a deadline for each call. */
  guard(fs: SpoolFs): SpoolFs {
    return {
      names: (directory) => this.run(() => fs.names(directory)),
      read: (path, limit) => this.run(() => fs.read(path, limit)),
      write: (path, parts) => this.run(() => fs.write(path, parts)),
      move: (from, to) => this.run(() => fs.move(from, to)),
      remove: (path) => this.run(() => fs.remove(path)),
      syncDirectory: (directory) => this.run(() => fs.syncDirectory(directory)),
    };
  }

  #giveUp(): void {
    this.#hanging += 1;
    if (this.#hanging === 1) {
      this.#logger.error("spool: the disk does not answer; it is left alone until it does");
    }
  }

  #comeBack(): void {
    this.#hanging -= 1;
    if (this.#hanging === 0) {
      this.#logger.info("spool: the disk answers again");
    }
  }
}
