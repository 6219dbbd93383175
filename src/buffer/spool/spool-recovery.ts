/** What an earlier run left in the spool's directory: names, lists and sets aside; it reads headers, no rows. */
import { join } from "node:path";
import type { Logger } from "pino";
import { codeOf, messageOf } from "../../util/error-message.js";
import {
  BATCH_HEADER_BYTES,
  BatchFileError,
  checkBatchFileLength,
  decodeBatchHeader,
} from "../batch-file.js";
import { nodeSpoolFs, type SpoolFs } from "./spool-disk.js";

/** A batch in the spool. */
export interface SpoolEntry {
  /** The file's name. */
  readonly name: string;
  readonly rows: number;
  /** What it takes of the spool's bound, in bytes. */
  readonly bytes: number;
}

/** What {@link listSpool} found. */
export interface SpoolListing {
  /** Oldest first. */
  readonly entries: readonly SpoolEntry[];
  /** The highest number in a name; 0 when there is none. */
  readonly lastNumber: number;
  /** Rows in files that were set aside although their header could still be read. */
  readonly setAsideRows: number;
}

/** The folder in a spool's directory for files that cannot be replayed. */
export const SET_ASIDE = "set-aside";
/** The number is the Unix time in milliseconds, or one more than the last; below 9e15, so always exact. */
const NAME_PATTERN = /^[0-8]\d{15}\.batch$/;
const TEMPORARY_SUFFIX = ".tmp";
/** File systems allot whole blocks; counted by its length alone, a batch of one row would be 30 times too small. */
const BLOCK_BYTES = 4096;

/** What the system says of a file itself. Any other error, as that too many files are open, may pass. */
const OF_THE_FILE = new Set<string | undefined>(["ENOENT", "EIO", "EACCES", "EPERM"]);

/** Whether an error of reading a file says that something is wrong with the file. */
export function isOfTheFile(error: unknown): boolean {
  return error instanceof BatchFileError || OF_THE_FILE.has(codeOf(error));
}

/** The name of a batch's file; names sort as their numbers do. */
export function spoolFileName(number: number): string {
  return `${String(number).padStart(16, "0")}.batch`;
}

/** The number in the name of a batch's file; undefined for any other name. */
export function spoolFileNumber(name: string): number | undefined {
  return NAME_PATTERN.test(name) ? Number.parseInt(name, 10) : undefined;
}

/** The name of a batch's file, or its path, until the file is complete. */
export function temporaryName(name: string): string {
  return name + TEMPORARY_SUFFIX;
}

/** What a file with a payload of `payloadBytes` takes on disk, in bytes: whole blocks of 4 KiB. */
export function spoolFileBytes(payloadBytes: number): number {
  return Math.ceil((BATCH_HEADER_BYTES + payloadBytes) / BLOCK_BYTES) * BLOCK_BYTES;
}

/** The largest payload of a file that takes no more than `fileBytes`; 0 when not even a header fits. */
export function spoolRoomBytes(fileBytes: number): number {
  return Math.max(0, Math.floor(fileBytes / BLOCK_BYTES) * BLOCK_BYTES - BATCH_HEADER_BYTES);
}

/** How many batches lie in a directory that no spool has opened; 0 when it cannot be looked into. */
export async function countSpoolFiles(directory: string, fs: SpoolFs = nodeSpoolFs): Promise<number> {
  const names = await fs.names(directory).catch(() => []);
  return names.filter((name) => NAME_PATTERN.test(name)).length;
}

/**
 * Removes what unfinished writes left, lists the batches, and sets aside all else but hidden files.
 *
 * @throws DiskHangsError, or the file system's error, if it may be another next time
 */
export async function listSpool(directory: string, fs: SpoolFs, setAside: SetAside): Promise<SpoolListing> {
  const entries: SpoolEntry[] = [];
  let lastNumber = 0;
  let setAsideRows = 0;
  for (const name of (await fs.names(directory)).sort()) {
    if (isTemporary(name)) {
      // Harmless where that fails: it is asked again at the next start.
      await fs.remove(join(directory, name)).catch(() => undefined);
      continue;
    }
    if (name.startsWith(".")) {
      continue;
    }
    let isHere = true;
    try {
      entries.push(await inspect(directory, name, fs));
    } catch (error) {
      if (!isOfTheFile(error)) {
        throw error;
      }
      const rows = error instanceof BatchFileError ? error.rows : undefined;
      isHere = !(await setAside.put(name, error, rows));
      setAsideRows += rows ?? 0;
    }
    if (isHere) {
      lastNumber = Math.max(lastNumber, spoolFileNumber(name) ?? 0);
    }
  }
  return { entries, lastNumber, setAsideRows };
}

function isTemporary(name: string): boolean {
  return name.endsWith(TEMPORARY_SUFFIX) && NAME_PATTERN.test(name.slice(0, -TEMPORARY_SUFFIX.length));
}

async function inspect(directory: string, name: string, fs: SpoolFs): Promise<SpoolEntry> {
  if (!NAME_PATTERN.test(name)) {
    throw new BatchFileError("its name is not that of a spool file");
  }
  const { data, size } = await fs.read(join(directory, name), BATCH_HEADER_BYTES);
  const header = decodeBatchHeader(data);
  checkBatchFileLength(header, size);
  return { name, rows: header.rows, bytes: spoolFileBytes(header.payloadBytes) };
}

/** The folder for files that cannot be replayed. It never deletes one and never puts one in another's place. */
export class SetAside {
  readonly #directory: string;
  readonly #fs: SpoolFs;
  readonly #logger: Logger;
  readonly #names = new Set<string>();

  /** `directory` is the spool's; the folder is in it. */
  constructor(deps: { readonly directory: string; readonly fs: SpoolFs; readonly logger: Logger }) {
    this.#directory = deps.directory;
    this.#fs = deps.fs;
    this.#logger = deps.logger;
  }

  /** Files in it: those of {@link SetAside.load} and those put there since. */
  get files(): number {
    return this.#names.size;
  }

  /** Finds out what is there. */
  async load(): Promise<void> {
    for (const name of await this.#fs.names(join(this.#directory, SET_ASIDE))) {
      this.#names.add(name);
    }
    if (this.files > 0) {
      this.#logger.warn(
        { files: this.files },
        `spool: SPOOL_DIR/${SET_ASIDE} holds files whose rows are not in the database and wait for a person`,
      );
    }
  }

  /** Moves a file of the spool's directory here. False: that failed and it stays; either way, it is logged. */
  async put(name: string, reason: unknown, rows: number | undefined): Promise<boolean> {
    let target = name;
    for (let copy = 1; this.#names.has(target); copy++) {
      target = `${name}.${copy}`;
    }
    const details = { file: name, rows, reason: messageOf(reason) };
    try {
      await this.#fs.move(join(this.#directory, name), join(this.#directory, SET_ASIDE, target));
      this.#names.add(target);
      this.#logger.error(
        { ...details, movedTo: join(SET_ASIDE, target) },
        "spool: a file cannot be replayed and was set aside, its rows are not in the database; repair it or " +
          "restore it from a copy, move it back into SPOOL_DIR and restart; or delete it, to give its rows up",
      );
      return true;
    } catch (error) {
      this.#logger.error(
        { ...details, err: error },
        "spool: a file cannot be replayed, and could not be set aside either; it stays where it is",
      );
      return false;
    }
  }
}
