/**
 * The spool: a directory with a file for each batch that it was given, of those that PostgreSQL could not take; it
 * writes, lists, reads and removes them, and never speaks to PostgreSQL.
 *
 * A file is written under a temporary name, fsynced, renamed, and then its directory is fsynced; only after that
 * is the batch stored. When any of these fails the caller keeps the batch, and both names are removed. If even
 * that fails after the rename, the file may stay: this run never lists it, and the next batch takes its name and
 * so replaces it; a later run may find it, counts it as recovered and replays it, and since ids are the primary
 * key, its rows end as duplicates. So neither the table nor the books ever count a row twice. The same holds for a
 * disk that hangs: each call has a deadline, and what a call does after it is such a rest.
 */
import { dirname, join } from "node:path";
import type { Logger } from "pino";
import { type EncodedBatch, TUPLE_MAX_BYTES } from "../../event/tuple-codec.js";
import type { Clock } from "../../util/clock.js";
import { DirectoryLock } from "../../util/directory-lock.js";
import { codeOf, messageOf } from "../../util/error-message.js";
import { BatchFileError, decodeBatchFile, encodeBatchHeader } from "../batch-file.js";
import { type BatchBuffer, BufferFullError, type BufferRecovery } from "../buffer.js";
import { DiskDeadline, nodeSpoolFs, type SpoolFs, unlessHanging } from "./spool-disk.js";
import {
  isOfTheFile,
  listSpool,
  SetAside,
  type SpoolEntry,
  spoolFileBytes,
  spoolFileName,
  spoolRoomBytes,
  temporaryName,
} from "./spool-recovery.js";

/** The batch would not fit within the spool's bound; nothing was kept. */
export class SpoolFullError extends BufferFullError {
  override readonly name = "SpoolFullError";

  constructor(neededBytes: number, freeBytes: number) {
    super(`the spool is full: ${neededBytes} bytes are needed, ${freeBytes} are left of SPOOL_MAX_BYTES`);
  }
}

/** The directory cannot be used; the message is one line for the operator. */
export class SpoolOpenError extends Error {
  override readonly name = "SpoolOpenError";

  constructor(cause: unknown) {
    super(`SPOOL_DIR: ${messageOf(cause)}`, { cause });
  }
}

export interface SpoolDeps {
  /** Absolute; made when it is missing. */
  readonly directory: string;
  /** Upper bound of {@link Spool.bytes}. */
  readonly maxBytes: number;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Default: the machine's. */
  readonly fs?: SpoolFs;
  /** Claims the directory; default: DirectoryLock.acquire. */
  readonly lock?: (directory: string) => Promise<Claim>;
}

/** A directory that is ours until close(). */
interface Claim {
  close(): Promise<void>;
}

/** A file that cannot be read this often is set aside, so that it does not keep those behind it waiting. */
const READ_TRIES_MAX = 10;

/** Fewest bytes that a spool for batches of `flushMaxRows` rows can work with: one full batch. */
export function spoolMinBytes(flushMaxRows: number): number {
  return spoolFileBytes(flushMaxRows * TUPLE_MAX_BYTES);
}

/** A bounded store of batches on disk. `new` → `open` by open(); → `closed`, for good, by close(). */
export class Spool implements BatchBuffer<SpoolEntry> {
  readonly kind = "spool";
  readonly #directory: string;
  readonly #maxBytes: number;
  readonly #clock: Clock;
  readonly #logger: Logger;
  readonly #disk: DiskDeadline;
  readonly #fs: SpoolFs;
  readonly #setAside: SetAside;
  readonly #acquireLock: (directory: string) => Promise<Claim>;

  #state: "new" | "open" | "closed" = "new";
  #lock: Claim | undefined;
  #closing: Promise<void> | undefined;
  /** Ends when the stores that were asked for have; one at a time keeps the order. */
  #storing: Promise<void> = Promise.resolve();
  #onAvailable: (() => void) | undefined;

  /** Oldest first. */
  readonly #entries: SpoolEntry[] = [];
  #rows = 0;
  #bytes = 0;
  #lastNumber = 0;
  /** The number that the next file gets, once it has been tried. */
  #nextNumber: number | undefined;
  #isWritable = true;
  /** How often the oldest file could not be read. */
  #readFailures = 0;

  constructor(deps: SpoolDeps) {
    this.#directory = deps.directory;
    this.#maxBytes = deps.maxBytes;
    this.#clock = deps.clock;
    this.#logger = deps.logger;
    this.#disk = new DiskDeadline(deps);
    this.#fs = this.#disk.guard(deps.fs ?? nodeSpoolFs);
    this.#acquireLock = deps.lock ?? ((directory) => DirectoryLock.acquire(directory));
    this.#setAside = new SetAside({ directory: deps.directory, fs: this.#fs, logger: deps.logger });
  }

  /** Rows in the spool. */
  get rows(): number {
    return this.#rows;
  }

  /** What its files take on disk, in bytes, each counted in whole blocks of 4 KiB. */
  get bytes(): number {
    return this.#bytes;
  }

  /** Upper bound of {@link Spool.bytes}; only what an earlier run left may exceed it. */
  get maxBytes(): number {
    return this.#maxBytes;
  }

  /** The largest batch that has room, in bytes. */
  get freeBytes(): number {
    return spoolRoomBytes(this.#maxBytes - this.#bytes);
  }

  /** Batches in the spool. */
  get batches(): number {
    return this.#entries.length;
  }

  /** Files that were set aside, in this run, or before it and still there when the spool was opened. */
  get setAsideBatches(): number {
    return this.#setAside.files;
  }

  /** False from a failure to write until a batch is stored again, and while the disk hangs. */
  get isWritable(): boolean {
    return this.#isWritable && !this.#disk.hangs;
  }

  /**
   * Claims the directory and lists what an earlier run left there. What cannot be a batch is set aside.
   *
   * @throws SpoolOpenError when another service uses the directory, or it cannot be used at all
   */
  async open(): Promise<BufferRecovery> {
    if (this.#state !== "new" || this.#lock !== undefined) {
      throw new Error("a spool is opened once");
    }
    try {
      await this.#claim();
      await this.#setAside.load();
      const { entries, lastNumber, setAsideRows } = await listSpool(
        this.#directory,
        this.#fs,
        this.#setAside,
      );
      for (const entry of entries) {
        this.#add(entry);
      }
      this.#lastNumber = lastNumber;
      await this.#syncPath();
      this.#state = "open";
      this.#logger.info(
        { files: this.batches, rows: this.rows, bytes: this.bytes, setAsideRows },
        "spool opened",
      );
      return { rows: this.rows, setAsideRows };
    } catch (error) {
      await this.close();
      throw new SpoolOpenError(error);
    }
  }

  /** Gives the directory free; what is in it stays for the next run. Safe before open() and twice. */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  /**
   * Resolves when the batch is on stable storage; rejects when it could not be put there, and then keeps nothing.
   *
   * @throws SpoolFullError, DiskHangsError, or the file system's error
   */
  store(batch: EncodedBatch): Promise<void> {
    const stored = this.#storing.then(() => this.#store(batch));
    this.#storing = stored.catch(() => undefined);
    return stored;
  }

  /** Nobody else waits for what is in it. */
  pause(): void {}

  /** Calls `listener` after each batch that was stored, in place of any listener before. */
  onAvailable(listener: (() => void) | undefined): void {
    this.#onAvailable = listener;
  }

  /** The batch that has been here the longest. */
  oldest(): SpoolEntry | undefined {
    return this.#entries[0];
  }

  /**
   * Reads the oldest batch and checks every bit of it. Undefined when it is not what was stored; it has been set
   * aside then and is in the spool no more.
   *
   * @throws DiskHangsError, or the file system's error, if it may be another next time
   */
  async read(entry: SpoolEntry): Promise<EncodedBatch | undefined> {
    try {
      const { data } = await this.#fs.read(join(this.#directory, entry.name));
      const batch = decodeBatchFile(data);
      if (batch.rows !== entry.rows) {
        throw new BatchFileError("it is not the file that was here before");
      }
      this.#readFailures = 0;
      return batch;
    } catch (error) {
      // Else it is worth any number of tries.
      if (!isOfTheFile(error)) {
        throw error;
      }
      this.#readFailures += 1;
      const isLasting = error instanceof BatchFileError || codeOf(error) === "ENOENT";
      if (!isLasting && this.#readFailures < READ_TRIES_MAX) {
        throw error;
      }
      this.#take(entry);
      this.#bytes -= entry.bytes;
      await this.#setAside.put(entry.name, error, entry.rows);
      return undefined;
    }
  }

  /**
   * Takes out a batch whose rows have all ended. Never rejects: a file that cannot be removed is replayed by the
   * next run, which finds its rows to be duplicates; until then it counts in {@link Spool.bytes}.
   */
  async remove(entry: SpoolEntry): Promise<void> {
    this.#take(entry);
    try {
      await this.#fs.remove(join(this.#directory, entry.name));
      this.#bytes -= entry.bytes;
      await this.#fs.syncDirectory(this.#directory);
    } catch (error) {
      this.#logger.warn(
        { err: error, file: entry.name },
        "spool: a file that was replayed could not be removed for good; the next start may find it again",
      );
    }
  }

  /** Makes the directory when it is missing. Its lock is in it: whoever removes the one removes the other. */
  async #claim(): Promise<void> {
    const former = this.#lock;
    this.#lock = await this.#disk.run(() => this.#acquireLock(this.#directory));
    await this.#disk.run(async () => former?.close());
  }

  async #close(): Promise<void> {
    this.#state = "closed";
    this.#onAvailable = undefined;
    await this.#storing;
    // A disk that hangs does not keep us: the system gives the lock free when the process ends.
    await this.#disk.run(async () => this.#lock?.close()).catch(unlessHanging);
  }

  async #store(batch: EncodedBatch): Promise<void> {
    if (this.#state !== "open") {
      throw new Error(`the spool is ${this.#state === "new" ? "not open yet" : "closed"}`);
    }
    const bytes = spoolFileBytes(batch.bytes);
    if (this.#bytes + bytes > this.#maxBytes) {
      throw new SpoolFullError(bytes, Math.max(0, this.#maxBytes - this.#bytes));
    }
    // After a failure the next batch takes the same name, and replaces what could not be removed.
    this.#nextNumber ??= Math.max(this.#clock.now(), this.#lastNumber + 1);
    const name = spoolFileName(this.#nextNumber);
    const path = join(this.#directory, name);
    try {
      await this.#write(path, batch);
    } catch (error) {
      if (codeOf(error) !== "ENOENT") {
        throw error;
      }
      await this.#claim();
      await this.#syncPath();
      this.#logger.warn("spool: SPOOL_DIR was removed while the service runs; it is made again");
      await this.#write(path, batch);
    }
    this.#lastNumber = this.#nextNumber;
    this.#nextNumber = undefined;
    this.#add({ name, rows: batch.rows, bytes });
    this.#onAvailable?.();
  }

  async #write(path: string, batch: EncodedBatch): Promise<void> {
    const temporary = temporaryName(path);
    try {
      await this.#fs.write(temporary, [encodeBatchHeader(batch), ...batch.chunks]);
      await this.#fs.move(temporary, path);
      await this.#fs.syncDirectory(this.#directory);
      this.#isWritable = true;
    } catch (error) {
      this.#isWritable = false;
      // One that hangs would not remove them either.
      if (!this.#disk.hangs) {
        await this.#discard(temporary);
        await this.#discard(path);
      }
      throw error;
    }
  }

  async #discard(path: string): Promise<void> {
    try {
      await this.#fs.remove(path);
    } catch (error) {
      this.#logger.warn({ err: error }, "spool: the rest of a failed write could not be removed");
    }
  }

  #add(entry: SpoolEntry): void {
    this.#entries.push(entry);
    this.#rows += entry.rows;
    this.#bytes += entry.bytes;
  }

  /** Takes an entry off the list; its bytes count until the file is gone. */
  #take(entry: SpoolEntry): void {
    const index = this.#entries.indexOf(entry);
    if (index >= 0) {
      this.#entries.splice(index, 1);
      this.#rows -= entry.rows;
      this.#readFailures = 0;
    }
  }

  /** The directory may be new, and so may those above it; without their names its files would be lost. */
  async #syncPath(): Promise<void> {
    for (let path = this.#directory; path !== dirname(path); path = dirname(path)) {
      // Best effort: those above may be closed to us, but then they are not new.
      await this.#fs.syncDirectory(path).catch(() => undefined);
    }
  }
}
