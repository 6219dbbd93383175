/** A program that is measured, in a process of its own: started, stopped in order, and never left running. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";

/** One line of a program's log. */
export type LogLine = Readonly<Record<string, unknown>>;

export interface BenchProcessOptions {
  /** Path of a compiled program that logs JSON lines, `{"msg":"ready","port":…}` among them. */
  readonly script: string;
  readonly environment: Readonly<Record<string, string>>;
  /** For Node itself. Default: none. */
  readonly nodeArgs?: readonly string[];
}

/** A program that takes calls. */
export interface BenchProcess {
  readonly port: number;
  /** Of the service; undefined where there is none. */
  readonly adminPort: number | undefined;
  readonly pid: number;
  /** Stops it in order and resolves with the last line of its log; rejects when it fails. Safe to call twice. */
  stop(): Promise<LogLine>;
}

/** Starts a program; resolves when it takes calls. */
export async function startProcess(options: BenchProcessOptions): Promise<BenchProcess> {
  const child = spawn(process.execPath, [...(options.nodeArgs ?? []), options.script], {
    env: { ...process.env, ...options.environment },
    stdio: ["ignore", "pipe", "inherit"],
  });
  const closed = once(child, "close");
  const kill = () => void child.kill("SIGKILL");
  process.once("exit", kill);
  let last: LogLine = {};
  const ready = new Promise<LogLine | undefined>((resolve) => {
    createInterface({ input: child.stdout }).on("line", (line) => {
      last = JSON.parse(line) as LogLine;
      if (last.msg === "ready") {
        resolve(last);
      }
    });
    closed.then(
      () => resolve(undefined),
      () => resolve(undefined),
    );
  });
  const { port, adminPort } = (await ready) ?? {};
  if (typeof port !== "number" || child.pid === undefined) {
    throw new Error(`${options.script} did not start`);
  }
  return {
    port,
    adminPort: typeof adminPort === "number" ? adminPort : undefined,
    pid: child.pid,
    stop: async () => {
      child.kill("SIGTERM");
      const [status] = (await closed) as [number | null];
      process.off("exit", kill);
      if (status !== 0) {
        throw new Error(`void: ${options.script} ended with status ${status}`);
      }
      return last;
    },
  };
}
