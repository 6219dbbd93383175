/** Owns the choice of the system user that PostgreSQL runs as when we are root; it never changes a file's rights. */
import { spawnSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { stat } from "node:fs/promises";
import { dirname } from "node:path";
import { EmbeddedPostgresError } from "./error.js";

export interface ServerUser {
  readonly name: string;
  readonly uid: number;
  readonly gid: number;
}

/** `_postgres` is what macOS calls it. */
const CANDIDATES = ["postgres", "_postgres", "nobody"];

/**
 * Whether the user that an embedded PostgreSQL would run as can enter `directory`, or, while that does not exist,
 * the nearest parent that does. PostgreSQL refuses to run as root, so for root this is another user, who cannot
 * enter, say, /root. Always true when we are not root.
 */
export function canServerUserEnter(directory: string): boolean {
  if (process.getuid?.() !== 0) {
    return true;
  }
  const user = defaultServerUser();
  return user !== undefined && canReach(user, nearestExisting(directory));
}

/**
 * The user to run PostgreSQL as, or undefined when that is simply ourselves.
 *
 * @param clusterDir a cluster that exists belongs to the user that made it, and PostgreSQL insists on that one
 */
export async function serverUserOf(clusterDir: string): Promise<ServerUser | undefined> {
  if (process.getuid?.() !== 0) {
    return undefined;
  }
  const owner = await stat(clusterDir).catch(() => undefined);
  if (owner !== undefined && owner.uid !== 0) {
    return { name: `user ${owner.uid}`, uid: owner.uid, gid: owner.gid };
  }
  const user = defaultServerUser();
  if (user === undefined) {
    throw new EmbeddedPostgresError(
      "PostgreSQL refuses to run as root and there is no user postgres or nobody to run it as: set DATABASE_URL, or start the service as another user",
    );
  }
  return user;
}

/** Asks the kernel as that user, since mode bits alone tell nothing about access lists or parent directories. */
export function canReach(user: ServerUser, path: string): boolean {
  const { uid, gid } = user;
  const probe = spawnSync("/bin/sh", ["-c", '[ -x "$1" ]', "sh", path], {
    uid,
    gid,
    cwd: "/",
    stdio: "ignore",
  });
  return probe.status === 0;
}

function defaultServerUser(): ServerUser | undefined {
  const users = new Map<string, ServerUser>();
  for (const line of readPasswd().split("\n")) {
    const [name = "", , uid = "", gid = ""] = line.split(":");
    if (/^[1-9]\d*$/.test(uid)) {
      users.set(name, { name, uid: Number(uid), gid: Number(gid) });
    }
  }
  return CANDIDATES.map((name) => users.get(name)).find((user) => user !== undefined);
}

function readPasswd(): string {
  try {
    return readFileSync("/etc/passwd", "utf8");
  } catch {
    return "";
  }
}

function nearestExisting(path: string): string {
  return existsSync(path) || dirname(path) === path ? path : nearestExisting(dirname(path));
}
