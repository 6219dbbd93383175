/**
 * SPOOL_DIR as a whole: which folder in it is whose, and that no batch lies where nobody looks after WORKERS was
 * changed; it never opens a batch.
 */
import { readdir } from "node:fs/promises";
import { join } from "node:path";
import type { Logger } from "pino";
import { DirectoryLock } from "../files/directory-lock.js";
import { SpoolOpenError } from "./spool.js";
import { nodeSpoolFs as fs, fsErrorCode } from "./spool-fs.js";
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

const WORKER_FOLDER = /^worker-[1-9]\d*$/;

/** The folder of one worker's spool. */
export function workerSpoolDir(spoolDir: string, worker: number): string {
  return join(spoolDir, `worker-${worker}`);
}

/**
 * Claims SPOOL_DIR for a whole service, and moves what a run with other WORKERS left in folders that this run does
 * not open into those that it does. To be done before any spool is opened. Undefined: there is to be no spool.
 *
 * @throws SpoolOpenError when another service uses the directory, or it cannot be used
 */
export async function claimSpoolDir(
  settings: SpoolSettings,
  logger: Logger,
): Promise<SpoolDirClaim | undefined> {
  const { spoolDir, spoolMaxBytes } = settings;
  if (spoolMaxBytes === 0) {
    await warnOfBatches(spoolDir, logger);
    return undefined;
  }
  let claim: SpoolDirClaim | undefined;
  try {
    claim = await DirectoryLock.acquire(spoolDir);
    await gatherStrays(settings, logger);
    return claim;
  } catch (error) {
    await claim?.close();
    throw new SpoolOpenError(error);
  }
}

async function warnOfBatches(spoolDir: string, logger: Logger): Promise<void> {
  let files = 0;
  for (const folder of await foldersOnDisk(spoolDir).catch(() => [])) {
    files += await countSpoolFiles(folder);
  }
  if (files > 0) {
    logger.warn(
      { files, spoolDir },
      "SPOOL_DIR holds events of an earlier run, and they stay there: SPOOL_MAX_BYTES is 0",
    );
  }
}

/** All folders that may hold batches: SPOOL_DIR itself, of a lone process, and the workers'. */
async function foldersOnDisk(spoolDir: string): Promise<string[]> {
  const entries = await readdir(spoolDir, { withFileTypes: true }).catch((error: unknown) => {
    if (fsErrorCode(error) === "ENOENT") {
      return [];
    }
    throw error;
  });
  const workers = entries.filter((entry) => entry.isDirectory() && WORKER_FOLDER.test(entry.name));
  return [spoolDir, ...workers.map(({ name }) => join(spoolDir, name))];
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

async function gatherStrays(settings: SpoolSettings, logger: Logger): Promise<void> {
  const targets = foldersInUse(settings);
  const folders = (await foldersOnDisk(settings.spoolDir)).filter((folder) => !targets.includes(folder));
  const locks = new Set<DirectoryLock>();
  const lockAll = async (paths: readonly string[]) => {
    // SPOOL_DIR itself is claimed already.
    for (const path of paths.filter((each) => each !== settings.spoolDir)) {
      locks.add(await DirectoryLock.acquire(path));
    }
  };
  try {
    // Before anything is listed: a worker of a primary that was killed may be at work in its folder, and put batches there
    // when nobody looks any more. Then this start has to fail.
    await lockAll(folders);
    const listings = await Promise.all(folders.map(listStrays));
    const batches = listings
      .flatMap((listing) => listing.batches)
      .sort((a, b) => a.name.localeCompare(b.name, "en"));
    const setAside = listings.flatMap((listing) => listing.setAside);
    if (batches.length + setAside.length > 0) {
      await lockAll(targets);
      await moveStrays(batches, setAside, [settings.spoolDir, ...targets, ...folders], targets);
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

async function moveStrays(
  batches: readonly Stray[],
  setAside: readonly Stray[],
  folders: readonly string[],
  targets: readonly string[],
): Promise<void> {
  await deal(batches, targets, nextBatchName);
  await deal(setAside, [join(targets[0] as string, SET_ASIDE)], nextCopyName);
  // New names first: a crash in between may leave a file under two names, never under none.
  for (const folder of folders) {
    await fs.syncDirectory(folder);
  }
}

async function listStrays(folder: string): Promise<{ batches: Stray[]; setAside: Stray[] }> {
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
