/** Where a run of the tests keeps its temporary files: in memory where that can be. */
import { execFile } from "node:child_process";
import { chmod, mkdtemp, rm, statfs, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";

/** Linux keeps this folder in memory. On a disk, making the files of a database costs five times the CPU. */
const IN_MEMORY = "/dev/shm";

/** A run uses some hundred MB at a time; containers often have 64 MB there. */
const ROOM_BYTES = 4 * 2 ** 30;

/** A new folder; `remove()` deletes it with all that is in it. */
export async function makeTemporaryFolder() {
  const path = (await makeIn(IN_MEMORY, isFit)) ?? (await makeIn(tmpdir()));
  return { path, remove: () => rm(path, { recursive: true, force: true, maxRetries: 5 }) };
}

async function makeIn(parent, isWanted = async () => true) {
  const path = await mkdtemp(join(parent, "stats-tests-")).catch(() => undefined);
  if (path === undefined) {
    return undefined;
  }
  // For PostgreSQL, which runs as another user when we are root.
  await chmod(path, 0o755);
  if (await isWanted(path)) {
    return path;
  }
  await rm(path, { recursive: true });
  return undefined;
}

/** Whether there is room, and programs may be run from there: some tests run a copy of the service. */
async function isFit(path) {
  const { bavail, bsize } = await statfs(path);
  if (bavail * bsize < ROOM_BYTES) {
    return false;
  }
  const program = join(path, "program");
  await writeFile(program, "#!/bin/sh\n", { mode: 0o755 });
  return promisify(execFile)(program).then(
    () => true,
    () => false,
  );
}
