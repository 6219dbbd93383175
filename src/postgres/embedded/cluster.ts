/** Owns the directories of the embedded cluster and how they come into being; it never runs the server. */
import { execFile } from "node:child_process";
import {
  chmod,
  lchown,
  mkdir,
  mkdtemp,
  readdir,
  readFile,
  realpath,
  rename,
  rm,
  rmdir,
  stat,
  writeFile,
} from "node:fs/promises";
import { dirname, join } from "node:path";
import { promisify } from "node:util";
import { DirectoryLock, DirectoryLockedError } from "../../util/directory-lock.js";
import { codeOf } from "../../util/error-message.js";
import type { Binaries } from "./binaries.js";
import { EmbeddedPostgresError, reasonOf } from "./error.js";
import { canReach, type ServerUser, serverUserOf } from "./server-user.js";

const execFileAsync = promisify(execFile);

const INITDB_TIMEOUT_MS = 120_000;

const UNFINISHED_PREFIX = "postgres-new-";

/** Whoever can open a connection on this machine is the superuser: it is a database to try things with. */
const HBA = "host all all 127.0.0.1/32 trust\n";

export interface DataDir {
  readonly lock: DirectoryLock;
  /** `dataDir` without symbolic links: a left-over server is recognised by it. */
  readonly path: string;
  readonly clusterDir: string;
  /** Who runs PostgreSQL; undefined for ourselves. */
  readonly user: ServerUser | undefined;
}

/** Creates `dataDir` when it is missing, makes sure that PostgreSQL can live in it, and locks it. */
export async function openDataDir(dataDir: string): Promise<DataDir> {
  try {
    await makeEnterable(dataDir);
    const path = await realpath(dataDir);
    const clusterDir = join(path, "postgres");
    const user = await serverUserOf(clusterDir);
    if (user !== undefined && !canReach(user, path)) {
      throw notEnterable(dataDir, user);
    }
    return { lock: await DirectoryLock.acquire(path), path, clusterDir, user };
  } catch (error) {
    if (error instanceof DirectoryLockedError) {
      throw new EmbeddedPostgresError(`${error.message} (DATA_DIR)`, { cause: error });
    }
    throw unusable(dataDir, error);
  }
}

/** Makes a new cluster on the first run, or checks that the one there is one that these programs can run. */
export async function ensureCluster({ path, clusterDir, user }: DataDir, binaries: Binaries): Promise<void> {
  try {
    const version = await readVersion(clusterDir);
    if (version === undefined) {
      await createCluster({ dataDir: path, clusterDir, user, binaries });
    } else if (version !== binaries.major) {
      throw new EmbeddedPostgresError(
        `${clusterDir} was made by PostgreSQL ${version}, the embedded one is ${binaries.major}: set DATA_DIR to another directory, or move the data with pg_dump`,
      );
    } else if (user !== undefined) {
      await giveTo(user, clusterDir);
    }
  } catch (error) {
    throw unusable(path, error);
  }
}

/** PostgreSQL gets none of the caller's PG* variables: they are for clients, and some would change the server. */
export function serverEnvironment(): NodeJS.ProcessEnv {
  const inherited = Object.entries(process.env).filter(([name]) => !name.startsWith("PG"));
  return { ...Object.fromEntries(inherited), LC_ALL: "C" };
}

/** A new directory that root makes under a tight umask would shut out the user that PostgreSQL runs as. */
async function makeEnterable(directory: string): Promise<void> {
  const first = await mkdir(directory, { recursive: true });
  if (first === undefined || process.getuid?.() !== 0) {
    return;
  }
  for (let path = directory; path.length >= first.length; path = dirname(path)) {
    await chmod(path, 0o755);
  }
}

async function readVersion(clusterDir: string): Promise<string | undefined> {
  try {
    return (await readFile(join(clusterDir, "PG_VERSION"), "utf8")).trim();
  } catch (error) {
    if (codeOf(error) === "ENOENT") {
      return undefined;
    }
    throw error;
  }
}

/**
 * Made under another name and renamed, so that a first run that was cut short leaves no half a cluster. The name is
 * new each time, because the initdb of that run may still be writing.
 */
async function createCluster(options: {
  readonly dataDir: string;
  readonly clusterDir: string;
  readonly user: ServerUser | undefined;
  readonly binaries: Binaries;
}): Promise<void> {
  const { dataDir, clusterDir, user, binaries } = options;
  await removeEmpty(clusterDir);
  await removeUnfinished(dataDir);
  const unfinished = await mkdtemp(join(dataDir, UNFINISHED_PREFIX));
  if (user !== undefined) {
    await lchown(unfinished, user.uid, user.gid);
  }
  const flags = ["--username=postgres", "--auth=trust", "--encoding=UTF8", "--locale=C", "--no-instructions"];
  await execFileAsync(binaries.initdb, ["-D", unfinished, ...flags], {
    cwd: dataDir,
    env: serverEnvironment(),
    timeout: INITDB_TIMEOUT_MS,
    ...(user === undefined ? {} : { uid: user.uid, gid: user.gid }),
  }).catch((error: unknown) => {
    throw initdbFailed(error);
  });
  await writeFile(join(unfinished, "pg_hba.conf"), HBA);
  await rename(unfinished, clusterDir);
}

async function removeUnfinished(dataDir: string): Promise<void> {
  for (const name of await readdir(dataDir)) {
    if (!name.startsWith(UNFINISHED_PREFIX)) {
      continue;
    }
    // What an initdb that still runs keeps from being removed goes at the next attempt.
    await rm(join(dataDir, name), { recursive: true, force: true }).catch(() => {});
  }
}

function initdbFailed(error: unknown): EmbeddedPostgresError {
  if (codeOf(error) === "ENOENT") {
    return new EmbeddedPostgresError(
      `the programs of the embedded PostgreSQL cannot be run here (${reasonOf(error)}; on Linux they need glibc): set DATABASE_URL`,
      { cause: error },
    );
  }
  const stderr = (error as { stderr?: string }).stderr?.trim() ?? "";
  const said = stderr === "" ? reasonOf(error) : stderr.split("\n").slice(-3).join(" ");
  return new EmbeddedPostgresError(
    `initdb could not make a cluster (${said}): set DATA_DIR to a directory with room to write, or set DATABASE_URL`,
    { cause: error },
  );
}

async function removeEmpty(clusterDir: string): Promise<void> {
  try {
    await rmdir(clusterDir);
  } catch (error) {
    const code = codeOf(error);
    if (code === "ENOENT") {
      return;
    }
    if (code !== "ENOTEMPTY" && code !== "EEXIST") {
      throw error;
    }
    throw new EmbeddedPostgresError(
      `${clusterDir} holds files but no PostgreSQL cluster: set DATA_DIR to another directory, or move them away`,
      { cause: error },
    );
  }
}

/** Only for a cluster that root owns, say one restored from a backup: the server would refuse it. */
async function giveTo(user: ServerUser, directory: string): Promise<void> {
  if ((await stat(directory)).uid !== 0) {
    return;
  }
  for (const entry of await readdir(directory, { withFileTypes: true, recursive: true })) {
    await lchown(join(entry.parentPath, entry.name), user.uid, user.gid);
  }
  await lchown(directory, user.uid, user.gid);
}

function notEnterable(dataDir: string, user: ServerUser): EmbeddedPostgresError {
  return new EmbeddedPostgresError(
    `PostgreSQL refuses to run as root, and ${user.name}, whom it would run as, cannot enter ${dataDir}: set DATA_DIR to a directory that others can enter, for example DATA_DIR=/var/lib/stats-service`,
  );
}

function unusable(dataDir: string, error: unknown): EmbeddedPostgresError {
  if (error instanceof EmbeddedPostgresError) {
    return error;
  }
  return new EmbeddedPostgresError(
    `cannot use the data directory ${dataDir} (${reasonOf(error)}): set DATA_DIR to a directory that this user can write`,
    { cause: error },
  );
}
