/** A PgBouncer in transaction mode, as it comes, in front of a database; needs the program. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { chmod, mkdtemp, rm, writeFile } from "node:fs/promises";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { freePort } from "./free-port.js";
import { until } from "./wait.js";

export class TestPgBouncer implements AsyncDisposable {
  /** `postgres://` URL of the database, by way of PgBouncer. */
  readonly url: string;
  readonly #child: ChildProcess;
  readonly #directory: string;

  private constructor(url: string, child: ChildProcess, directory: string) {
    this.url = url;
    this.#child = child;
    this.#directory = directory;
  }

  static async start(program: string, databaseUrl: string): Promise<TestPgBouncer> {
    const { hostname, port, username, password, pathname } = new URL(databaseUrl);
    const directory = await mkdtemp(join(tmpdir(), "stats-pgbouncer-"));
    const listenPort = await freePort();
    const settings = `
      [databases]
      * = host=${hostname} port=${port}
      [pgbouncer]
      listen_addr = 127.0.0.1
      listen_port = ${listenPort}
      unix_socket_dir =
      pool_mode = transaction
      auth_type = trust
      auth_file = ${directory}/users.txt
      logfile = ${directory}/pgbouncer.log`;
    await writeFile(join(directory, "pgbouncer.ini"), settings.replaceAll(/^ +/gm, ""));
    await writeFile(join(directory, "users.txt"), `"${username}" "${password}"\n`);
    // It refuses to run as root, so that the user it changes to must be able to read.
    await chmod(directory, 0o777);
    const asUser = process.getuid?.() === 0 ? ["-u", "nobody"] : [];
    const child = spawn(program, [...asUser, join(directory, "pgbouncer.ini")], { stdio: "ignore" });
    await until(() => answers(listenPort), "an answer of PgBouncer");
    const url = `postgres://${username}:${password}@127.0.0.1:${listenPort}${pathname}`;
    return new TestPgBouncer(url, child, directory);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const ended = once(this.#child, "exit");
    this.#child.kill("SIGKILL");
    await ended;
    await rm(this.#directory, { recursive: true, force: true });
  }
}

function answers(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, "127.0.0.1", () => {
      socket.destroy();
      resolve(true);
    });
    socket.on("error", () => resolve(false));
  });
}
