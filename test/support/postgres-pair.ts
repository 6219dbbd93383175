/** A primary PostgreSQL and its synchronous standby for tests, on loopback; both are gone after close(). */
import { type ChildProcess, execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { chmod, chown, cp, mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { Client } from "pg";
import { type Binaries, findBinaries } from "../../src/postgres/embedded/binaries.js";
import { type ServerUser, serverUserOf } from "../../src/postgres/embedded/server-user.js";
import { freePort } from "./free-port.js";
import { until } from "./wait.js";

const execFileAsync = promisify(execFile);
const STANDBY_NAME = "standby";

interface Program {
  readonly binaries: Binaries;
  readonly user: ServerUser | undefined;
  readonly root: string;
}

/** One server. */
export class PairedServer {
  readonly port: number;
  readonly #program: Program;
  readonly #folder: string;
  readonly #settings: Readonly<Record<string, string>>;
  #process: ChildProcess | undefined;

  constructor(program: Program, folder: string, port: number, settings: Readonly<Record<string, string>>) {
    this.#program = program;
    this.#folder = folder;
    this.#settings = settings;
    this.port = port;
  }

  get url(): string {
    return `postgres://postgres@127.0.0.1:${this.port}/postgres`;
  }

  /** Resolves when it takes connections. */
  async start(): Promise<void> {
    const settings = {
      port: String(this.port),
      listen_addresses: "127.0.0.1",
      unix_socket_directories: "",
      fsync: "off",
      ...this.#settings,
    };
    const options = Object.entries(settings).flatMap(([name, value]) => ["-c", `${name}=${value}`]);
    const { binaries, user } = this.#program;
    this.#process = spawn(binaries.postgres, ["-D", this.#folder, ...options], {
      cwd: this.#folder,
      stdio: "ignore",
      ...(user && { uid: user.uid, gid: user.gid }),
    });
    await until(
      () =>
        this.query("SELECT 1").then(
          () => true,
          () => false,
        ),
      "PostgreSQL to take connections",
    );
  }

  /** As a machine that loses its power: all of its processes at once. */
  async kill(): Promise<void> {
    await this.#end("SIGQUIT");
  }

  async stop(): Promise<void> {
    await this.#end("SIGINT");
  }

  async query<Row extends object>(text: string): Promise<Row[]> {
    const client = new Client({ connectionString: this.url, connectionTimeoutMillis: 2_000 });
    client.on("error", () => undefined);
    await client.connect();
    try {
      return (await client.query<Row>(text)).rows;
    } finally {
      await client.end();
    }
  }

  /** SIGQUIT is PostgreSQL's immediate shutdown: nothing is finished or written any more. */
  async #end(signal: "SIGQUIT" | "SIGINT"): Promise<void> {
    const running = this.#process;
    this.#process = undefined;
    if (running !== undefined && running.exitCode === null && running.signalCode === null) {
      const gone = once(running, "exit");
      running.kill(signal);
      await gone;
    }
  }
}

export class PostgresPair implements AsyncDisposable {
  readonly primary: PairedServer;
  readonly standby: PairedServer;
  readonly #root: string;

  private constructor(primary: PairedServer, standby: PairedServer, root: string) {
    this.primary = primary;
    this.standby = standby;
    this.#root = root;
  }

  /** Starts both, the standby in step with the primary. */
  static async start(): Promise<PostgresPair> {
    const root = await mkdtemp(join(tmpdir(), "stats-pair-"));
    await chmod(root, 0o755);
    const user = await serverUserOf(join(root, "primary"));
    const program = { binaries: await findBinaries(root, user), user, root };
    const [first, second] = [join(root, "primary"), join(root, "standby")];
    const [primaryPort, standbyPort] = [await freePort(), await freePort()];
    await mkdir(first, { mode: 0o700 });
    if (user !== undefined) {
      await chown(first, user.uid, user.gid);
    }
    await execFileAsync(
      program.binaries.initdb,
      ["-D", first, "-U", "postgres", "-A", "trust", "--no-sync"],
      { cwd: root, ...(user && { uid: user.uid, gid: user.gid }) },
    );
    // A copy of a primary that is stopped: the package has no pg_basebackup.
    await cp(first, second, { recursive: true });
    await writeFile(join(second, "standby.signal"), "");
    await chmod(second, 0o700);
    if (user !== undefined) {
      await execFileAsync("chown", ["-R", `${user.uid}:${user.gid}`, second]);
    }
    const primary = new PairedServer(program, first, primaryPort, {
      synchronous_standby_names: STANDBY_NAME,
    });
    const standby = new PairedServer(program, second, standbyPort, {
      primary_conninfo: `host=127.0.0.1 port=${primaryPort} user=postgres application_name=${STANDBY_NAME}`,
      wal_retrieve_retry_interval: "100ms",
    });
    await primary.start();
    await standby.start();
    const pair = new PostgresPair(primary, standby, root);
    await pair.inStep();
    return pair;
  }

  /** Resolves when the standby is synchronous. */
  async inStep(): Promise<void> {
    await until(async () => {
      const rows = await this.primary.query("SELECT 1 FROM pg_stat_replication WHERE sync_state = 'sync'");
      return rows.length === 1;
    }, "the standby to be in step");
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.standby.kill();
    await this.primary.kill();
    await rm(this.#root, { recursive: true, force: true });
  }
}
