/** Runs the built service as a process of its own, as an operator does; it never leaves one running. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { createInterface } from "node:readline";

const ROOT = join(import.meta.dirname, "../..");
const MAIN = join(ROOT, "dist/src/main.js");

/** One line of the service's log. */
export interface LogLine {
  readonly level: string;
  readonly msg: string;
  readonly [field: string]: unknown;
}

/** How the process ended. */
export interface Ending {
  readonly status: number | null;
  readonly signal: NodeJS.Signals | null;
}

/** Environment of the service; PORT and ADMIN_PORT are chosen by the system unless given. */
export type ServiceEnvironment = Readonly<Record<string, string>>;

/** A stats service in a process group of its own. */
export class ServiceProcess implements AsyncDisposable {
  readonly log: LogLine[] = [];
  readonly #child: ChildProcess;
  readonly #ended: Promise<Ending>;
  readonly #watchers = new Set<() => void>();
  #stdout = "";
  #stderr = "";

  private constructor(command: string, args: readonly string[], environment: ServiceEnvironment) {
    this.#child = spawn(command, args, {
      cwd: ROOT,
      // The test runner's own NODE_OPTIONS and the like are none of the service's business.
      env: {
        PATH: process.env.PATH,
        HOME: process.env.HOME,
        PORT: "0",
        ADMIN_PORT: "0",
        // The default folder is one for all, and each service needs a spool of its own.
        ...(environment.SPOOL_DIR === undefined &&
          environment.DATA_DIR === undefined && { SPOOL_MAX_BYTES: "0" }),
        ...environment,
      },
      stdio: ["ignore", "pipe", "pipe"],
      detached: true,
    });
    this.#ended = once(this.#child, "close").then(([status, signal]) => ({ status, signal }) as Ending);
    this.#child.stderr?.on("data", (text: Buffer) => {
      this.#stderr += text.toString();
    });
    const { stdout } = this.#child;
    if (stdout === null) {
      throw new Error("the service has no standard output");
    }
    createInterface({ input: stdout }).on("line", (line) => this.#read(line));
    void this.#ended.then(() => this.#notify());
  }

  /** Starts the service; resolves when it takes calls. */
  static async start(environment: ServiceEnvironment = {}): Promise<ServiceProcess> {
    const service = ServiceProcess.spawn([], environment);
    await service.logged("ready");
    return service;
  }

  /** Runs the command line with `args`, without waiting for anything. */
  static spawn(args: readonly string[], environment: ServiceEnvironment = {}): ServiceProcess {
    return new ServiceProcess(process.execPath, ["--enable-source-maps", MAIN, ...args], environment);
  }

  /** Runs `npm start` and waits until it takes calls: a shell and npm stand between us and the service. */
  static async npmStart(environment: ServiceEnvironment): Promise<ServiceProcess> {
    const service = new ServiceProcess("npm", ["start", "--ignore-scripts"], environment);
    await service.logged("ready");
    return service;
  }

  get pid(): number {
    if (this.#child.pid === undefined) {
      throw new Error("the service could not be spawned");
    }
    return this.#child.pid;
  }

  get stdout(): string {
    return this.#stdout;
  }

  get stderr(): string {
    return this.#stderr;
  }

  /** For example `http://127.0.0.1:41234`. */
  get url(): string {
    return `http://127.0.0.1:${this.port}`;
  }

  get port(): number {
    return Number(this.find("ready")?.port);
  }

  get adminUrl(): string {
    return `http://127.0.0.1:${Number(this.find("ready")?.adminPort)}`;
  }

  /** The first line with this message, if it came already. */
  find(msg: string): LogLine | undefined {
    return this.log.find((line) => line.msg === msg);
  }

  /** Resolves with the nth line that has this message; rejects when the process ends without it. */
  logged(msg: string, nth = 1): Promise<LogLine> {
    return this.loggedWhere((line) => line.msg === msg, nth);
  }

  /** Resolves with the nth line of which this is true; rejects when the process ends without it. */
  async loggedWhere(isWanted: (line: LogLine) => boolean, nth = 1): Promise<LogLine> {
    let ended = false;
    void this.#ended.then(() => {
      ended = true;
    });
    for (;;) {
      const line = this.log.filter(isWanted)[nth - 1];
      if (line !== undefined) {
        return line;
      }
      if (ended) {
        throw new Error(`the service ended without the line:\n${JSON.stringify(this.log)}\n${this.#stderr}`);
      }
      await new Promise<void>((resolve) => {
        this.#watchers.add(resolve);
      });
    }
  }

  /** Signals the process alone. */
  signal(signal: NodeJS.Signals): void {
    this.#child.kill(signal);
  }

  /** Signals the whole process group, as a terminal does on Ctrl-C. */
  signalGroup(signal: NodeJS.Signals): void {
    process.kill(-this.pid, signal);
  }

  /** Resolves when the process has ended and its output has been read. */
  ended(): Promise<Ending> {
    return this.#ended;
  }

  /** Signals the process and resolves when it has ended. */
  async stop(signal: NodeJS.Signals = "SIGTERM"): Promise<Ending> {
    this.signal(signal);
    return this.#ended;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    try {
      this.signalGroup("SIGKILL");
    } catch {
      // Ended already.
    }
    await this.#ended;
  }

  #read(line: string): void {
    this.#stdout += `${line}\n`;
    if (line.startsWith("{")) {
      this.log.push(JSON.parse(line) as LogLine);
      this.#notify();
    }
  }

  #notify(): void {
    for (const wake of this.#watchers) {
      wake();
    }
    this.#watchers.clear();
  }
}
