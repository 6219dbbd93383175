/** A real file system that fails or hangs when a test tells it to, as a full, a dying or a read-only disk does. */
import { truncate } from "node:fs/promises";
import { nodeSpoolFs, type SpoolFs } from "../../src/buffer/spool/spool-disk.js";

/** An error as the system gives it. */
export function fsError(code: string): Error {
  return Object.assign(new Error(`${code}: injected by the test`), { code });
}

/** Calls go through to the disk, except those of the methods that have a code in `failing`. */
export class FaultySpoolFs implements SpoolFs {
  /** The error's code by method. `write` leaves half of the file, as a disk that became full does. */
  readonly failing: Partial<Record<keyof SpoolFs, string>> = {};
  /** What was asked, in order: method and the last part of the path. */
  readonly calls: string[] = [];
  #hanging: { readonly methods: readonly (keyof SpoolFs)[]; readonly until: Promise<void> } | undefined;

  /** From here on calls of these methods hang; what is returned lets them through. */
  hang(...methods: (keyof SpoolFs)[]): () => void {
    let answer = () => {};
    const until = new Promise<void>((resolve) => {
      answer = resolve;
    });
    this.#hanging = { methods, until };
    return () => {
      this.#hanging = undefined;
      answer();
    };
  }

  names(directory: string): Promise<string[]> {
    return this.#call("names", directory, () => nodeSpoolFs.names(directory));
  }

  read(path: string, limit?: number): Promise<{ data: Buffer; size: number }> {
    return this.#call("read", path, () => nodeSpoolFs.read(path, limit));
  }

  async write(path: string, parts: readonly Uint8Array[]): Promise<void> {
    const code = this.failing.write;
    if (code !== undefined && code !== "EROFS") {
      await nodeSpoolFs.write(path, parts);
      await truncate(path, Math.floor(parts.reduce((sum, part) => sum + part.length, 0) / 2));
    }
    await this.#call("write", path, () => nodeSpoolFs.write(path, parts));
  }

  move(from: string, to: string): Promise<void> {
    return this.#call("move", to, () => nodeSpoolFs.move(from, to));
  }

  remove(path: string): Promise<void> {
    return this.#call("remove", path, () => nodeSpoolFs.remove(path));
  }

  syncDirectory(directory: string): Promise<void> {
    return this.#call("syncDirectory", directory, () => nodeSpoolFs.syncDirectory(directory));
  }

  async #call<T>(method: keyof SpoolFs, path: string, work: () => Promise<T>): Promise<T> {
    this.calls.push(`${method} ${path.slice(path.lastIndexOf("/") + 1)}`);
    if (this.#hanging?.methods.includes(method)) {
      await this.#hanging.until;
    }
    const code = this.failing[method];
    if (code !== undefined) {
      throw fsError(code);
    }
    return work();
  }
}
