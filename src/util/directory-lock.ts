/** Owns the claim of one process on a directory; it never touches another file there and never trusts a process id. */
import { createHash, randomBytes, randomInt } from "node:crypto";
import { constants } from "node:fs";
import { chmod, type FileHandle, mkdir, open, readdir, realpath, rename, rm } from "node:fs/promises";
import { connect, createServer, type Server } from "node:net";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { codeOf, messageOf } from "./error-message.js";

/** Another live process (or another lock in this one) holds the directory. */
export class DirectoryLockedError extends Error {
  override readonly name = "DirectoryLockedError";

  constructor(readonly directory: string) {
    super(
      `${directory} is in use by another service that is still running: stop that one, or give this one a directory of its own`,
    );
  }
}

/** The directory cannot carry a lock: no rights, no Unix-domain sockets on its file system, name too long. */
export class DirectoryLockError extends Error {
  override readonly name = "DirectoryLockError";

  constructor(
    readonly directory: string,
    options: { readonly cause: unknown },
  ) {
    super(`cannot lock the directory ${directory}: ${messageOf(options.cause)}`, options);
  }
}

const SOCKET_NAME = /^\.lock-[0-9a-f]{12}$/;

/** sockaddr_un.sun_path is 104 bytes on macOS and the BSDs (108 on Linux), the closing NUL included. */
const SOCKET_PATH_MAX_BYTES = 103;

/** Two that start at the same moment see each other and both withdraw; a later try settles it. */
const TRIES = 5;
const WITHDRAWN_MIN_MS = 10;
const WITHDRAWN_MAX_MS = 100;

/**
 * Makes one process the owner of a directory until `close()`, or until the process ends in whatever way.
 *
 * The lock is a listening Unix-domain socket in the directory (on Windows a named pipe), so the kernel releases it:
 * what a killed owner leaves behind refuses connections. Each contender has a socket name of its own that is never
 * used again; it first publishes a socket that already listens, and only then looks for others. Of two contenders,
 * the one that looks later finds the other, so two never win, and since a name that has once refused a connection
 * stays dead, removing it cannot hit a live owner, as removing one shared name could.
 *
 * It guards one machine: processes on several hosts that share a network file system do not see each other.
 */
export class DirectoryLock implements AsyncDisposable {
  readonly #release: () => Promise<void>;
  #closing: Promise<void> | undefined;

  private constructor(release: () => Promise<void>) {
    this.#release = release;
  }

  /**
   * Creates the directory when it is missing and becomes its owner.
   *
   * @throws {DirectoryLockedError} when another owner lives
   * @throws {DirectoryLockError} when the directory cannot be created, written or locked
   */
  static async acquire(directory: string): Promise<DirectoryLock> {
    try {
      await mkdir(directory, { recursive: true });
      const canonical = await realpath(directory);
      const release =
        process.platform === "win32" ? await claimPipe(canonical) : await claimSocketOf(canonical);
      if (release === undefined) {
        throw new DirectoryLockedError(directory);
      }
      return new DirectoryLock(release);
    } catch (cause) {
      if (cause instanceof DirectoryLockedError) {
        throw cause;
      }
      throw new DirectoryLockError(directory, { cause });
    }
  }

  close(): Promise<void> {
    this.#closing ??= this.#release();
    return this.#closing;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}

type Release = () => Promise<void>;

async function claimSocketOf(directory: string): Promise<Release | undefined> {
  const folder = await openFolder(directory);
  for (let attempt = 1; attempt <= TRIES; attempt++) {
    const name = `.lock-${randomBytes(6).toString("hex")}`;
    let release: Release | undefined;
    try {
      release = await publishSocket(folder, name);
      if (!(await hasLiveRival(folder, name))) {
        const withdraw = release;
        return async () => {
          await withdraw();
          await folder.close();
        };
      }
    } catch (error) {
      await release?.();
      await folder.close();
      throw error;
    }
    await release();
    if (attempt < TRIES) {
      await delay(randomInt(WITHDRAWN_MIN_MS, WITHDRAWN_MAX_MS));
    }
  }
  await folder.close();
  return undefined;
}

/** Listens under a passing name and renames: bound but not yet listening, a socket would look dead to a rival. */
async function publishSocket(folder: Folder, name: string): Promise<Release> {
  const passing = folder.pathOf(`${name}.new`);
  const server = await listen(passing);
  const release = async (): Promise<void> => {
    await rm(folder.pathOf(name), { force: true });
    await closeServer(server);
  };
  try {
    // Whoever may see the directory may ask whether its owner lives; to connect takes the right to write.
    await chmod(passing, 0o666);
    await rename(passing, folder.pathOf(name));
  } catch (error) {
    await release();
    throw error;
  }
  return release;
}

async function hasLiveRival(folder: Folder, own: string): Promise<boolean> {
  const names = await readdir(folder.path);
  for (const name of names) {
    if (name === own || !SOCKET_NAME.test(name)) {
      continue;
    }
    if (await isListening(folder.pathOf(name))) {
      return true;
    }
    await rm(folder.pathOf(name), { force: true });
  }
  return false;
}

async function claimPipe(directory: string): Promise<Release | undefined> {
  const key = createHash("sha256").update(directory.toLowerCase()).digest("hex");
  try {
    const server = await listen(`\\\\.\\pipe\\directory-lock-${key}`);
    return () => closeServer(server);
  } catch (error) {
    const code = codeOf(error);
    if (code === "EADDRINUSE" || code === "EACCES") {
      return undefined;
    }
    throw error;
  }
}

interface Folder {
  readonly path: string;
  pathOf(name: string): string;
  close(): Promise<void>;
}

/** On Linux a directory whose name is too long for a socket address is reached through its descriptor. */
async function openFolder(directory: string): Promise<Folder> {
  const longest = Buffer.byteLength(join(directory, ".lock-0123456789ab.new"));
  let handle: FileHandle | undefined;
  let path = directory;
  if (longest > SOCKET_PATH_MAX_BYTES) {
    if (process.platform !== "linux") {
      throw new Error(`its path is too long for a Unix-domain socket, choose a shorter one`);
    }
    handle = await open(directory, constants.O_RDONLY | constants.O_DIRECTORY);
    path = `/proc/self/fd/${handle.fd}`;
  }
  return { path, pathOf: (name) => join(path, name), close: async () => handle?.close() };
}

function listen(path: string): Promise<Server> {
  return new Promise((resolve, reject) => {
    const server = createServer((socket) => socket.destroy());
    server.once("error", reject);
    // Exclusive: in a worker of node:cluster the primary would listen instead, and outlive the owner.
    server.listen({ path, exclusive: true }, () => {
      // A lock is held for as long as its process has other work; it is never the reason to stay.
      server.unref();
      resolve(server);
    });
  });
}

function closeServer(server: Server): Promise<void> {
  return new Promise((resolve) => {
    server.close(() => resolve());
  });
}

function isListening(path: string): Promise<boolean> {
  return new Promise((resolve, reject) => {
    const socket = connect(path);
    socket.once("connect", () => {
      socket.destroy();
      resolve(true);
    });
    socket.once("error", (error) => {
      const code = codeOf(error);
      if (code === "ECONNREFUSED" || code === "ENOENT" || code === "ENOTSOCK") {
        resolve(false);
      }
      // Its queue of connections is full, or it withdrew while we were in that queue: alive when we asked.
      else if (code === "EAGAIN" || code === "ECONNRESET") {
        resolve(true);
      } else {
        reject(error);
      }
    });
  });
}
