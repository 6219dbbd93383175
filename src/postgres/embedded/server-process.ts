/** Owns one run of the postgres program: starting it, learning that it ended, stopping it; it never starts it again. */
import { type ChildProcess, execFile, spawn } from "node:child_process";
import { closeSync, openSync } from "node:fs";
import { setTimeout as delay } from "node:timers/promises";
import { promisify } from "node:util";
import type { Binaries } from "./binaries.js";
import { serverEnvironment } from "./cluster.js";
import { reasonOf } from "./error.js";
import type { ServerUser } from "./server-user.js";

const execFileAsync = promisify(execFile);

export interface ServerProcess {
  /** Settles, and never rejects, when the server is gone; says how it ended. */
  readonly exited: Promise<string>;
  /** Safe when it has ended, and twice. */
  stop(): Promise<void>;
}

export interface SpawnOptions {
  readonly binaries: Binaries;
  readonly clusterDir: string;
  readonly user: ServerUser | undefined;
  readonly logPath: string;
  /** Server settings, by name: the `-c name=value` of the command line. */
  readonly settings: Readonly<Record<string, string>>;
}

type StopSignal = "SIGINT" | "SIGQUIT" | "SIGKILL";

/**
 * The shutdowns of PostgreSQL, each tried when the one before was not enough: fast (ends the sessions, writes a
 * checkpoint), immediate (the next start recovers from the log), and the kernel's.
 */
const STOP_STEPS: readonly { readonly signal: StopSignal; readonly waitMs: number }[] = [
  { signal: "SIGINT", waitMs: 10_000 },
  { signal: "SIGQUIT", waitMs: 5_000 },
  { signal: "SIGKILL", waitMs: 2_000 },
];

/**
 * Starts the server in a session of its own, so that a Ctrl-C in the terminal, which goes to the whole process
 * group, leaves it to us to stop it last. Its output goes to a file: a pipe would have to be read by somebody.
 * Synchronous, so that no `close()` can slip in between the decision to start and a server to stop.
 */
export function spawnServer(options: SpawnOptions): ServerProcess {
  const { binaries, clusterDir, user, logPath, settings } = options;
  const log = openSync(logPath, "a", 0o600);
  try {
    const child = spawn(binaries.postgres, ["-D", clusterDir, ...commandLine(settings)], {
      cwd: clusterDir,
      detached: true,
      env: serverEnvironment(),
      stdio: ["ignore", log, log],
      windowsHide: true,
      ...(user === undefined ? {} : { uid: user.uid, gid: user.gid }),
    });
    // It is close() that decides when the server ends; the server is no reason for our process to stay.
    child.unref();
    const exited = exitOf(child);
    return { exited, stop: () => stopChild(child, exited, binaries) };
  } finally {
    closeSync(log);
  }
}

/**
 * Stops a server, by ever stronger signals, each with its deadline.
 *
 * @param hasEnded resolves to true as soon as the server is gone, or to false after `waitMs`
 */
export async function stopServer(
  pid: number,
  binaries: Binaries,
  hasEnded: (waitMs: number) => Promise<boolean>,
): Promise<boolean> {
  for (const { signal, waitMs } of STOP_STEPS) {
    await send(signal, pid, binaries);
    if (await hasEnded(waitMs)) {
      return true;
    }
  }
  return false;
}

function commandLine(settings: Readonly<Record<string, string>>): string[] {
  return Object.entries(settings).flatMap(([name, value]) => ["-c", `${name}=${value}`]);
}

function exitOf(child: ChildProcess): Promise<string> {
  return new Promise((resolve) => {
    child.once("error", (error) => resolve(`it cannot be run: ${reasonOf(error)}`));
    child.once("exit", (code, signal) => resolve(signal === null ? `exit code ${code}` : `signal ${signal}`));
  });
}

async function stopChild(child: ChildProcess, exited: Promise<string>, binaries: Binaries): Promise<void> {
  const hasEnded = async (waitMs: number): Promise<boolean> => {
    const timer = new AbortController();
    const late = delay(waitMs, false, { signal: timer.signal }).catch(() => false);
    const ended = await Promise.race([exited.then(() => true), late]);
    timer.abort();
    return ended;
  };
  if (child.pid === undefined || child.exitCode !== null || child.signalCode !== null) {
    return;
  }
  await stopServer(child.pid, binaries, hasEnded);
}

/** Windows has no signals: there PostgreSQL listens for them on a named pipe, which pg_ctl knows to write to. */
async function send(signal: StopSignal, pid: number, binaries: Binaries): Promise<void> {
  try {
    if (process.platform !== "win32" || signal === "SIGKILL") {
      process.kill(pid, signal);
    } else {
      await execFileAsync(binaries.pgCtl, ["kill", signal.slice("SIG".length), String(pid)]);
    }
  } catch {
    // Gone already, or not ours to signal: the wait that follows tells.
  }
}
