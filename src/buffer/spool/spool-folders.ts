/**
 * SPOOL_DIR as a whole: which folder in it is whose, and that no batch lies where nobody looks after WORKERS was
 * changed; it never opens a batch.
 */
import type { Dirent } from "node:fs";
import { readdir } from "node:fs/promises";
import { join } from "node:path";
import type { Logger } from "pino";
import type { Clock } from "../../util/clock.js";
import { DirectoryLock } from "../../util/directory-lock.js";
import { codeOf } from "../../util/error-message.js";
import { SpoolOpenError } from "./spool.js";
import { DiskDeadline, nodeSpoolFs, type SpoolFs, unlessHanging } from "./spool-disk.js";
import { countSpoolFiles, SET_ASIDE, spoolFileName, spoolFileNumber } from "./spool-recovery.js";

/** The settings that decide where batches are. */
export interface SpoolSettings {
  readonly spoolDir: string;
  readonly spoolMaxBytes: number;
  readonly workers: number;
}

/** SPOOL_DIR, ours until close(). */
export interface SpoolDirClaim {
  close(): Promise<void>;
}

export interface SpoolDirDeps {
  readonly clock: Clock;
  readonly logger: Logger;
  /** Default: the machine's. */
  readonly fs?: SpoolFs;
  /** Claims a directory; default: DirectoryLock.acquire. */
  readonly lock?: (directory: string) => Promise<SpoolDirClaim>;
}

/** Short, for a stop has waited for the workers' spools before. The system gives the lock free when the process ends. */
const CLOSE_TIMEOUT_MS = 2_000;
const WORKER_FOLDER = /^worker-[1-9]\d*$/;

/** The folder of one worker's spool. */
export function workerSpoolDir(spoolDir: string, worker: number): string {
  return join(spoolDir, `worker-${worker}`);
}

/**
 * Claims SPOOL_DIR for a whole service, and moves what a run with other WORKERS left in folders that this run does
 * not open into those that it does. To be done before any spool is opened. Undefined: there is to be no spool. A disk
 * that hangs keeps neither this nor close() waiting for long.
 *
 * @throws SpoolOpenError when another service uses the directory, or it cannot be used
 */
export async function claimSpoolDir(
  settings: SpoolSettings,
  deps: SpoolDirDeps,
): Promise<SpoolDirClaim | undefined> {
  const disk = new SpoolDirDisk(deps);
  if (settings.spoolMaxBytes === 0) {
    await warnOfBatches(settings.spoolDir, disk, deps.logger);
    return undefined;
  }
  let claim: SpoolDirClaim | undefined;
  try {
    claim = await disk.lock(settings.spoolDir);
    await gatherStrays(settings, disk, deps.logger);
    return claim;
  } catch (error) {
    await claim?.close();
    throw new SpoolOpenError(error);
  }
}

/** The disk that SPOOL_DIR is on, with a deadline for each call. */
class SpoolDirDisk {
  readonly fs: SpoolFs;
  readonly #deadline: DiskDeadline;
  readonly #acquire: (directory: string) => Promise<SpoolDirClaim>;

  constructor(deps: SpoolDirDeps) {
    this.#deadline = new DiskDeadline(deps);
    this.fs = this.#deadline.guard(deps.fs ?? nodeSpoolFs);
    this.#acquire = deps.lock ?? ((directory) => DirectoryLock.acquire(directory));
  }

  async lock(directory: string): Promise<SpoolDirClaim> {
    const lock = await this.#deadline.run(() => this.#acquire(directory));
    return { close: () => this.#deadline.run(() => lock.close(), CLOSE_TIMEOUT_MS).catch(unlessHanging) };
  }

  /** All folders that may hold batches: SPOOL_DIR itself, of a lone process, and the workers'. */
  async folders(spoolDir: string): Promise<string[]> {
    const entries = await this.#deadline.run(() => listDirectory(spoolDir));
    const workers = entries.filter((entry) => entry.isDirectory() && WORKER_FOLDER.test(entry.name));
    return [spoolDir, ...workers.map(({ name }) => join(spoolDir, name))];
  }
}

async function listDirectory(path: string): Promise<Dirent[]> {
  try {
    return await readdir(path, { withFileTypes: true });
  } catch (error) {
    if (codeOf(error) === "ENOENT") {
      return [];
    }
    throw error;
  }
}

async function warnOfBatches(spoolDir: string, disk: SpoolDirDisk, logger: Logger): Promise<void> {
  let files = 0;
  for (const folder of await disk.folders(spoolDir).catch(() => [])) {
    files += await countSpoolFiles(folder, disk.fs);
  }
  if (files > 0) {
    logger.warn(
      { files, spoolDir },
      "SPOOL_DIR holds events of an earlier run, and they stay there: this run has no spool",
    );
  }
}

function foldersInUse({ spoolDir, workers }: SpoolSettings): string[] {
  return workers === 1
    ? [spoolDir]
    : Array.from({ length: workers }, (_, i) => workerSpoolDir(spoolDir, i + 1));
}

/** A file that nobody would find. */
interface Stray {
  readonly folder: string;
  readonly name: string;
}

async function gatherStrays(settings: SpoolSettings, disk: SpoolDirDisk, logger: Logger): Promise<void> {
  const targets = foldersInUse(settings);
  const folders = (await disk.folders(settings.spoolDir)).filter((folder) => !targets.includes(folder));
  const locks = new Set<SpoolDirClaim>();
  const lockAll = async (paths: readonly string[]) => {
    // SPOOL_DIR itself is claimed already.
    for (const path of paths.filter((each) => each !== settings.spoolDir)) {
      locks.add(await disk.lock(path));
    }
  };
  try {
    // Before anything is listed: a worker of a primary that was killed may be at work in its folder, and put batches there
    // when nobody looks any more. Then this start has to fail.
    await lockAll(folders);
    const listings = await Promise.all(folders.map((folder) => listStrays(folder, disk.fs)));
    const batches = listings
      .flatMap((listing) => listing.batches)
      .sort((a, b) => a.name.localeCompare(b.name, "en"));
    const setAside = listings.flatMap((listing) => listing.setAside);
    if (batches.length + setAside.length > 0) {
      await lockAll(targets);
      await deal(disk.fs, batches, targets, nextBatchName);
      await deal(disk.fs, setAside, [join(targets[0] as string, SET_ASIDE)], nextCopyName);
      // New names first: a crash in between may leave a file under two names, never under none.
      for (const folder of [settings.spoolDir, ...targets, ...folders]) {
        await disk.fs.syncDirectory(folder);
      }
      logger.info(
        { batches: batches.length, setAside: setAside.length },
        "spool: took over what a run with another number of WORKERS had left",
      );
    }
  } finally {
    for (const lock of locks) {
      await lock.close();
    }
  }
}

async function listStrays(folder: string, fs: SpoolFs): Promise<{ batches: Stray[]; setAside: Stray[] }> {
  const asideFolder = join(folder, SET_ASIDE);
  const batches = (await fs.names(folder)).filter((name) => spoolFileNumber(name) !== undefined);
  const setAside = await fs.names(asideFolder);
  return {
    batches: batches.map((name) => ({ folder, name })),
    setAside: setAside.map((name) => ({ folder: asideFolder, name })),
  };
}

/** Moves files to the targets by turns, each under a name that is free there. */
async function deal(
  fs: SpoolFs,
  strays: readonly Stray[],
  targets: readonly string[],
  nextName: (name: string, tries: number) => string,
): Promise<void> {
  const taken = await Promise.all(targets.map(async (target) => new Set(await fs.names(target))));
  for (const [i, { folder, name }] of strays.entries()) {
    const turn = i % targets.length;
    const names = taken[turn] as Set<string>;
    let free = name;
    for (let tries = 1; names.has(free); tries++) {
      free = nextName(name, tries);
    }
    names.add(free);
    await fs.move(join(folder, name), join(targets[turn] as string, free));
  }
}

/** The next number: about as old, so that it is replayed at about the same turn. */
function nextBatchName(name: string, tries: number): string {
  return spoolFileName((spoolFileNumber(name) ?? 0) + tries);
}

function nextCopyName(name: string, tries: number): string {
  return `${name}.${tries}`;
}
