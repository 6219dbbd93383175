import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdir, mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { DirectoryLock, DirectoryLockError, DirectoryLockedError } from "../../../src/util/directory-lock.js";

const COMPILED = pathToFileURL(join(process.cwd(), "dist/src/util/directory-lock.js")).href;

let root: string;
const children = new Set<ChildProcess>();

beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), "stats-lock-"));
});

afterEach(async () => {
  for (const child of children) {
    if (child.exitCode === null && child.signalCode === null) {
      child.kill("SIGKILL");
      await once(child, "exit");
    }
  }
  children.clear();
  await rm(root, { recursive: true, force: true });
});

/** Another process that locks `directory`, says so, and then does `afterwards`. */
function lockElsewhere(directory: string, afterwards: string): ChildProcess {
  const script = `
    import { DirectoryLock } from ${JSON.stringify(COMPILED)};
    const lock = await DirectoryLock.acquire(${JSON.stringify(directory)});
    console.log("locked");
    ${afterwards}`;
  const child = spawn(process.execPath, ["--input-type=module", "-e", script], {
    stdio: ["pipe", "pipe", "inherit"],
  });
  children.add(child);
  return child;
}

async function holdElsewhere(directory: string): Promise<ChildProcess> {
  const child = lockElsewhere(directory, "process.stdin.resume();");
  const { stdout } = child;
  if (stdout !== null) {
    await once(stdout, "data");
  }
  return child;
}

async function leaveStale(directory: string): Promise<void> {
  const owner = await holdElsewhere(directory);
  owner.kill("SIGKILL");
  await once(owner, "exit");
}

test("creates a missing directory, and gives it free again", async () => {
  const directory = join(root, "a", "b");
  const lock = await DirectoryLock.acquire(directory);
  await expect(readdir(directory)).resolves.toHaveLength(1);
  await lock.close();
  await lock.close();
  await expect(readdir(directory)).resolves.toEqual([]);

  const next = await DirectoryLock.acquire(directory);
  await next.close();
});

test("refuses a second owner in the same process, and says what to do", async () => {
  await using _ = await DirectoryLock.acquire(root);
  const refused = await DirectoryLock.acquire(root).catch((error: unknown) => error);
  expect(refused).toBeInstanceOf(DirectoryLockedError);
  expect(refused).toMatchObject({ directory: root });
  expect(String(refused)).toContain(`${root} is in use by another service`);
  expect(String(refused)).toContain("give this one a directory of its own");
});

test("refuses a directory that another process holds, and takes it once that one is killed", async () => {
  const owner = await holdElsewhere(root);
  await expect(DirectoryLock.acquire(root)).rejects.toBeInstanceOf(DirectoryLockedError);

  owner.kill("SIGKILL");
  await once(owner, "exit");
  await using _ = await DirectoryLock.acquire(root);
  await expect(readdir(root)).resolves.toHaveLength(1);
});

test("holds off others while its owner is stopped and cannot answer", async () => {
  const owner = await holdElsewhere(root);
  owner.kill("SIGSTOP");
  await expect(DirectoryLock.acquire(root)).rejects.toBeInstanceOf(DirectoryLockedError);
});

test("never lets two win when many start at once on what a killed owner left behind", async () => {
  await leaveStale(root);
  for (let round = 0; round < 4; round++) {
    const starts = await Promise.allSettled(Array.from({ length: 4 }, () => DirectoryLock.acquire(root)));
    const won = starts.flatMap((start) => (start.status === "fulfilled" ? [start.value] : []));
    expect(won.length).toBeLessThanOrEqual(1);
    for (const start of starts) {
      if (start.status === "rejected") {
        expect(String(start.reason)).toMatch("DirectoryLockedError");
      }
    }
    for (const lock of won) {
      await lock.close();
    }
  }
  const last = await DirectoryLock.acquire(root);
  await last.close();
  await expect(readdir(root)).resolves.toEqual([]);
});

test("leaves every other file alone", async () => {
  await writeFile(join(root, ".lock-notes"), "mine");
  await mkdir(join(root, "postgres"));
  const lock = await DirectoryLock.acquire(root);
  await lock.close();
  await expect(readdir(root)).resolves.toEqual([".lock-notes", "postgres"]);
});

test("does not keep its process alive", async () => {
  const child = lockElsewhere(root, "");
  await expect(once(child, "exit")).resolves.toEqual([0, null]);
});

test("names a directory that cannot be made", async () => {
  const file = join(root, "file");
  await writeFile(file, "");
  const failed = await DirectoryLock.acquire(join(file, "below")).catch((error: unknown) => error);
  expect(failed).toBeInstanceOf(DirectoryLockError);
  expect(String(failed)).toContain(join(file, "below"));
});

// Elsewhere such a directory cannot carry a socket, and the error says so.
const onLinux = process.platform === "linux" ? test : test.skip;

onLinux("locks a directory whose path is longer than a socket address", async () => {
  const directory = join(root, "x".repeat(120));
  const lock = await DirectoryLock.acquire(directory);
  await expect(DirectoryLock.acquire(directory)).rejects.toBeInstanceOf(DirectoryLockedError);
  await lock.close();
  await leaveStale(directory);
  await using _ = await DirectoryLock.acquire(directory);
  await expect(readdir(directory)).resolves.toHaveLength(1);
});
