/** NATS servers with JetStream for tests, one alone or a cluster of three, on loopback; each keeps its files apart. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout } from "node:timers/promises";
import { connect, type NatsConnection } from "@nats-io/transport-node";
import { freePort } from "./free-port.js";
import { until } from "./wait.js";

interface NatsServerOptions {
  /** The file to run. */
  readonly program: string;
  readonly name: string;
  readonly port: number;
  readonly folder: string;
  readonly cluster?: { readonly port: number; readonly routes: readonly string[] };
  /** Further arguments. */
  readonly args?: readonly string[];
}

const START_TIMEOUT_MS = 15_000;

/** One server. start(), kill() and start() again as often as a test likes; `wipe` in between forgets what it stored. */
export class NatsServer {
  readonly #options: NatsServerOptions;
  #process: ChildProcess | undefined;

  constructor(options: NatsServerOptions) {
    this.#options = options;
  }

  get url(): string {
    return `nats://127.0.0.1:${this.port}`;
  }

  get port(): number {
    return this.#options.port;
  }

  get name(): string {
    return this.#options.name;
  }

  get pid(): number | undefined {
    return this.#process?.pid;
  }

  /** Resolves when it takes connections. */
  async start(): Promise<void> {
    const { program, name, port, folder, cluster, args = [] } = this.#options;
    const clusterArgs =
      cluster === undefined
        ? []
        : [
            "--cluster_name",
            "test",
            "--cluster",
            `nats://127.0.0.1:${cluster.port}`,
            "--routes",
            cluster.routes.join(","),
          ];
    this.#process = spawn(
      program,
      ["-a", "127.0.0.1", "-p", String(port), "-n", name, "-js", "-sd", folder, ...clusterArgs, ...args],
      { stdio: "ignore" },
    );
    const deadline = Date.now() + START_TIMEOUT_MS;
    for (;;) {
      const connection = await this.connect().catch(() => undefined);
      if (connection !== undefined) {
        return connection.close();
      }
      if (Date.now() > deadline) {
        throw new Error(`nats-server ${name} did not start`);
      }
      await setTimeout(50);
    }
  }

  /** A client for the test itself. */
  connect(): Promise<NatsConnection> {
    return connect({ servers: [`127.0.0.1:${this.port}`], reconnect: false, timeout: 2_000 });
  }

  /** Ends it as a power cut of the machine's process would: at once. */
  async kill(): Promise<void> {
    const running = this.#process;
    this.#process = undefined;
    if (running !== undefined && running.exitCode === null && running.signalCode === null) {
      const gone = once(running, "exit");
      running.kill("SIGKILL");
      await gone;
    }
  }

  /** Lets it hang, as if the network to it were cut; `resume` ends that. */
  async pause(): Promise<void> {
    const pid = this.#process?.pid;
    this.#process?.kill("SIGSTOP");
    // The signal takes its time on another core: until then the server still answers.
    await until(async () => (await stateOf(pid)) === "T", "the server to hang");
  }

  resume(): void {
    this.#process?.kill("SIGCONT");
  }

  /** Forgets all that it stored. While it is not running. */
  async wipe(): Promise<void> {
    await rm(this.#options.folder, { recursive: true, force: true });
  }
}

/** Servers that belong together. */
export class NatsServers {
  readonly servers: readonly NatsServer[];
  readonly #root: string;

  private constructor(servers: readonly NatsServer[], root: string) {
    this.servers = servers;
    this.#root = root;
  }

  /** Starts `count` servers, as a cluster if there are several. */
  static async start(program: string, count = 1, args: readonly string[] = []): Promise<NatsServers> {
    const root = await mkdtemp(join(tmpdir(), "stats-nats-"));
    const ports = await Promise.all(Array.from({ length: 2 * count }, freePort));
    const routes = ports.slice(count).map((port) => `nats://127.0.0.1:${port}`);
    const servers = Array.from({ length: count }, (_, i) => {
      const port = ports[i] ?? 0;
      return new NatsServer({
        program,
        name: `n${i + 1}`,
        port,
        folder: join(root, `n${i + 1}`),
        args,
        ...(count > 1 && { cluster: { port: ports[count + i] ?? 0, routes } }),
      });
    });
    await Promise.all(servers.map((server) => server.start()));
    return new NatsServers(servers, root);
  }

  /** For BUFFER_URL. */
  get url(): string {
    return this.servers.map(({ url }) => url).join(",");
  }

  /** The first one. */
  get one(): NatsServer {
    const [first] = this.servers;
    if (first === undefined) {
      throw new Error("there are no servers");
    }
    return first;
  }

  async close(): Promise<void> {
    await Promise.all(this.servers.map((server) => server.kill()));
    await rm(this.#root, { recursive: true, force: true });
  }
}

/** What /proc says a process does, by its letter; where there is no /proc, it is taken for stopped. */
async function stateOf(pid: number | undefined): Promise<string> {
  const stat = await readFile(`/proc/${pid}/stat`, "utf8").catch(() => ") T");
  return stat.replace(/^.*\) /s, "").charAt(0);
}
