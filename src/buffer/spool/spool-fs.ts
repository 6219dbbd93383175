/** The spool's view of a file system: few calls, each of which a test can make fail; it knows no spool file. */
import { mkdir, open, readdir, rename, rm } from "node:fs/promises";
import { dirname } from "node:path";
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
