/** A project of somebody else's: empty but for the client, packed and installed as that team would; it runs what a test writes. */
import { execFile } from "node:child_process";
import { mkdir, mkdtemp, readdir, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { promisify } from "node:util";

const ROOT = join(import.meta.dirname, "../..");
const INSTALL = ["install", "--prefer-offline", "--no-audit", "--no-fund", "--ignore-scripts"];

const execute = promisify(execFile);

/** What a program printed. */
export interface Printed {
  readonly stdout: string;
  readonly stderr: string;
}

/** Installed from create() until it is disposed of. */
export class ClientProject implements AsyncDisposable {
  readonly folder: string;

  private constructor(folder: string) {
    this.folder = folder;
  }

  /** Packs the built client, and installs it with the newest of what it depends on; that needs the registry of npm. */
  static async create(): Promise<ClientProject> {
    const project = new ClientProject(await mkdtemp(join(tmpdir(), "stats-project-")));
    const packing = [
      "pack",
      "--workspace",
      "client",
      "--ignore-scripts",
      "--pack-destination",
      project.folder,
    ];
    await execute("npm", packing, { cwd: ROOT });
    const [tarball] = (await readdir(project.folder)).filter((name) => name.endsWith(".tgz"));
    await project.write("package.json", JSON.stringify({ private: true }));
    await project.install(".", `./${tarball}`);
    return project;
  }

  /** Installs a package in a folder of the project. */
  async install(folder: string, what: string): Promise<void> {
    await execute("npm", [...INSTALL, "--prefix", folder, what], { cwd: this.folder });
  }

  /** Resolves with the file's path. */
  async write(name: string, text: string): Promise<string> {
    const file = join(this.folder, name);
    await mkdir(dirname(file), { recursive: true });
    await writeFile(file, text);
    return file;
  }

  /** Runs a program of Node's in the project; rejects with what it printed when it fails. */
  async node(...args: string[]): Promise<Printed> {
    const options = { cwd: this.folder, timeout: 60_000, env: { PATH: process.env.PATH } };
    return await execute(process.execPath, args, options).catch((error: unknown) => {
      const { stdout, stderr } = error as Printed;
      throw new Error(`${args.join(" ")} failed:\n${stdout}${stderr}`);
    });
  }

  /** Writes a script and runs it; resolves with what it prints. */
  async run(name: string, code: string): Promise<Printed> {
    return await this.node(await this.write(name, code));
  }

  /** The packages that were installed, and their size on disk. */
  async installed(): Promise<{ readonly packages: string[]; readonly bytes: number }> {
    const modules = join(this.folder, "node_modules");
    const paths = await readdir(modules, { recursive: true });
    const stats = await Promise.all(paths.map((path) => stat(join(modules, path))));
    const manifests = paths.filter((path) => /^(@[^/]+\/)?[^@/.][^/]*\/package\.json$/.test(path));
    return {
      packages: manifests.map((path) => dirname(path)).sort(),
      bytes: stats.reduce((total, each) => total + (each.isFile() ? each.size : 0), 0),
    };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await rm(this.folder, { recursive: true, force: true });
  }
}
