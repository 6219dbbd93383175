/** A file system in memory that outlives the service of a test; it is never full, but may break or hang. */
import { basename, dirname } from "node:path";
import type { SpoolFs } from "../../src/buffer/spool/spool-disk.js";

/** The disk. */
export class MemoryDisk {
  /** Content by path. */
  readonly files = new Map<string, Buffer>();
  /** True: nothing can be written. */
  isBroken = false;
  /** Read it; hang() and answer() set it. */
  hangs = false;
  #answers = Promise.resolve();
  #answer = () => {};

  /** From here on no call is answered, nor has it an effect, until answer() lets all of them through. */
  hang(): void {
    this.answer();
    this.hangs = true;
    this.#answers = new Promise((resolve) => {
      this.#answer = resolve;
    });
  }

  answer(): void {
    this.hangs = false;
    this.#answer();
  }

  /** Resolves when the disk does not hang. */
  ready(): Promise<void> {
    return this.#answers;
  }
}

/** One process's view of a disk; after `kill` its calls have no effect and never come back. */
export class MemorySpoolFs implements SpoolFs {
  readonly #disk: MemoryDisk;
  #isKilled = false;

  constructor(disk: MemoryDisk) {
    this.#disk = disk;
  }

  kill(): void {
    this.#isKilled = true;
  }

  names(directory: string): Promise<string[]> {
    const paths = [...this.#disk.files.keys()].filter((path) => dirname(path) === directory);
    return this.#do(() => paths.map((path) => basename(path)));
  }

  read(path: string, limit?: number): Promise<{ data: Buffer; size: number }> {
    return this.#do(() => {
      const file = this.#disk.files.get(path);
      if (file === undefined) {
        throw Object.assign(new Error("ENOENT: no such file"), { code: "ENOENT" });
      }
      return { data: Buffer.from(file.subarray(0, limit)), size: file.length };
    });
  }

  async write(path: string, parts: readonly Uint8Array[]): Promise<void> {
    const whole = Buffer.concat(parts);
    // A kill in between leaves the first half.
    await this.#change(() => void this.#disk.files.set(path, whole.subarray(0, whole.length / 2)));
    await this.#change(() => void this.#disk.files.set(path, whole));
  }

  move(from: string, to: string): Promise<void> {
    return this.#change(() => {
      this.#disk.files.set(to, this.#disk.files.get(from) ?? Buffer.alloc(0));
      this.#disk.files.delete(from);
    });
  }

  remove(path: string): Promise<void> {
    return this.#do(() => void this.#disk.files.delete(path));
  }

  syncDirectory(): Promise<void> {
    return this.#change(() => undefined);
  }

  #change(work: () => void): Promise<void> {
    return this.#do(() => {
      if (this.#disk.isBroken) {
        throw Object.assign(new Error("EROFS: read-only file system"), { code: "EROFS" });
      }
      work();
    });
  }

  async #do<T>(work: () => T): Promise<T> {
    await this.#disk.ready();
    return this.#isKilled ? await new Promise<never>(() => undefined) : work();
  }
}
