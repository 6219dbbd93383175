/** Owns the server that a killed run of the service has left behind on our cluster; it never stops any other process. */
import { execFile } from "node:child_process";
import { readFile, rm } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { promisify } from "node:util";
import { codeOf } from "../../util/error-message.js";
import type { Binaries } from "./binaries.js";
import { EmbeddedPostgresError } from "./error.js";
import { stopServer } from "./server-process.js";

const execFileAsync = promisify(execFile);

const POLL_MS = 20;

/**
 * Stops the left-over server of `clusterDir`, if there is one. Call it only while holding the lock of the directory:
 * that is what tells a left-over from the server of another live service.
 *
 * @returns whether a server was stopped
 */
export async function stopLeftOver(clusterDir: string, binaries: Binaries): Promise<boolean> {
  const pidFile = join(clusterDir, "postmaster.pid");
  const pid = await readPid(pidFile);
  // Windows tells no command lines cheaply: PostgreSQL itself then says whether the file stands for a live server.
  if (pid === undefined || process.platform === "win32") {
    return false;
  }
  if (!(await isServerOf(clusterDir, pid))) {
    // After a reboot the number may belong to anyone, and PostgreSQL would take that process for a server. Should
    // children of a killed server live on, their shared memory still keeps a new server out.
    await rm(pidFile, { force: true });
    return false;
  }
  const stopped = await stopServer(pid, binaries, async (waitMs) => {
    const deadline = performance.now() + waitMs;
    while (await isServerOf(clusterDir, pid)) {
      if (performance.now() > deadline) {
        return false;
      }
      await delay(POLL_MS);
    }
    return true;
  });
  if (!stopped) {
    throw new EmbeddedPostgresError(
      `a PostgreSQL that an earlier run has left behind (process ${pid}) does not stop: stop it, or set DATA_DIR to another directory`,
    );
  }
  return true;
}

async function readPid(pidFile: string): Promise<number | undefined> {
  const text = await readFile(pidFile, "utf8").catch((error: unknown) => {
    if (codeOf(error) === "ENOENT" || codeOf(error) === "ENOTDIR") {
      return "";
    }
    throw error;
  });
  const pid = Number.parseInt(text, 10);
  return pid > 0 ? pid : undefined;
}

/** Decides by the command line, which everybody may read and which is empty once the process is but a zombie. */
async function isServerOf(clusterDir: string, pid: number): Promise<boolean> {
  if (process.platform === "linux") {
    const line = await readFile(`/proc/${pid}/cmdline`, "utf8").catch(() => "");
    return line.includes(`\0-D\0${clusterDir}\0`);
  }
  const line = await execFileAsync("ps", ["-ww", "-o", "args=", "-p", String(pid)]).catch(() => ({
    stdout: "",
  }));
  return line.stdout.includes(` -D ${clusterDir} `);
}
