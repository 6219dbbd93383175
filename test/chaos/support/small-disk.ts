/** A small disk in memory, for running out of space; only root may mount one, and not everywhere. */
import { execFile } from "node:child_process";
import { chmod, mkdtemp, rm, rmdir, statfs, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";

const run = promisify(execFile);

export class SmallDisk implements AsyncDisposable {
  readonly path: string;

  private constructor(path: string) {
    this.path = path;
  }

  /** Undefined where the machine does not allow it. */
  static async mount(bytes: number): Promise<SmallDisk | undefined> {
    const path = await mkdtemp(join(tmpdir(), "stats-chaos-disk-"));
    try {
      await run("mount", ["-t", "tmpfs", "-o", `size=${bytes}`, "tmpfs", path]);
    } catch {
      await rmdir(path);
      return undefined;
    }
    // For PostgreSQL, which runs as another user when we are root.
    await chmod(path, 0o755);
    return new SmallDisk(path);
  }

  /** Uses up all space that is left. */
  async fill(): Promise<void> {
    const { bavail, bsize } = await statfs(this.path);
    await writeFile(this.#filler, Buffer.alloc(bavail * bsize)).catch(() => undefined);
  }

  /** Gives the space back. */
  async free(): Promise<void> {
    await rm(this.#filler, { force: true });
  }

  async setReadOnly(isReadOnly: boolean): Promise<void> {
    await run("mount", ["-o", `remount,${isReadOnly ? "ro" : "rw"}`, this.path]);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await run("umount", ["-l", this.path]);
    await rmdir(this.path);
  }

  get #filler(): string {
    return join(this.path, "filler");
  }
}
