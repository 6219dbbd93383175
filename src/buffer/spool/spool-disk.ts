/**
 * The spool's view of a disk: few calls, each of which a test can make fail, and a deadline for each of them. A disk that
 * hangs (a network file system whose server is gone, a disk that dies) answers neither way.
 */
import { mkdir, open, readdir, rename, rm } from "node:fs/promises";
import { dirname } from "node:path";
import type { Logger } from "pino";
import type { Clock } from "../../util/clock.js";
import { codeOf } from "../../util/error-message.js";

/** What the spool asks of a file system. Each call rejects with the system's error. */
export interface SpoolFs {
  /** Names of the regular files in a directory, in no order; none when there is no such directory. */
  names(directory: string): Promise<string[]>;
  /** The first `limit` bytes of a file (default: all), and how many it has. */
  read(path: string, limit?: number): Promise<{ readonly data: Buffer; readonly size: number }>;
  /** Makes a file of these parts, in place of any of that name; resolves when it is on stable storage. */
  write(path: string, parts: readonly Uint8Array[]): Promise<void>;
  /** Renames a file, in place of any of the new name; makes the directory that it goes to when there is none. */
  move(from: string, to: string): Promise<void>;
  /** Removes a file; not an error when there is none. */
  remove(path: string): Promise<void>;
  /** Puts the names in a directory on stable storage. */
  syncDirectory(directory: string): Promise<void>;
}

/** The machine's file systems. */
export const nodeSpoolFs: SpoolFs = {
  async names(directory) {
    try {
      const entries = await readdir(directory, { withFileTypes: true });
      return entries.filter((entry) => entry.isFile()).map((entry) => entry.name);
    } catch (error) {
      if (codeOf(error) === "ENOENT") {
        return [];
      }
      throw error;
    }
  },

  async read(path, limit) {
    const file = await open(path, "r");
    try {
      const { size } = await file.stat();
      const data = Buffer.alloc(Math.min(limit ?? size, size));
      let length = 0;
      while (length < data.length) {
        const { bytesRead } = await file.read(data, length, data.length - length);
        if (bytesRead === 0) {
          break;
        }
        length += bytesRead;
      }
      return { data: data.subarray(0, length), size };
    } finally {
      await file.close();
    }
  },

  async write(path, parts) {
    const file = await open(path, "w", 0o600);
    try {
      for (const part of parts) {
        // It goes on where the last one ended, and goes on after a short write.
        await file.writeFile(part);
      }
      await file.sync();
    } finally {
      await file.close();
    }
  },

  async move(from, to) {
    try {
      await rename(from, to);
    } catch (error) {
      if (codeOf(error) !== "ENOENT") {
        throw error;
      }
      await mkdir(dirname(to), { recursive: true });
      await rename(from, to);
    }
  },

  async remove(path) {
    await rm(path, { force: true });
  },

  async syncDirectory(directory) {
    // Windows has no such thing, and needs none: NTFS journals its names.
    if (process.platform === "win32") {
      return;
    }
    const handle = await open(directory, "r");
    try {
      await handle.sync();
    } catch (error) {
      // Some file systems, of networks most of all, answer that directories cannot be synced.
      if (codeOf(error) !== "EINVAL") {
        throw error;
      }
    } finally {
      await handle.close();
    }
  },
};

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
