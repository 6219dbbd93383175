/**
 * The buffer: where batches wait on stable storage until PostgreSQL takes them. An interface and its errors; the spool
 * (files of this machine) and JetStream (a cluster of NATS servers that several machines share) implement it.
 */
import type { EncodedBatch } from "../event/tuple-codec.js";

/** Where batches are. */
export type BufferKind = "spool" | "jetstream";

/** There is no room for the batch; nothing was kept. Any other rejection of {@link BatchBuffer.store} is a doubt. */
export class BufferFullError extends Error {
  override readonly name: string = "BufferFullError";
}

/** A batch in the buffer, before it is read. */
export interface BufferedBatch {
  /** Names it in the log. */
  readonly name: string;
  readonly rows: number;
  /** How often it was handed out, this time included, as far as is known. Absent: whoever has it counts. */
  readonly deliveries?: number;
}

/** What the books need to know of a buffer when it is opened: rows that it held before this process began. */
export interface BufferRecovery {
  /** They will be replayed. */
  readonly rows: number;
  /** They cannot be read and were set aside, although their number is known. */
  readonly setAsideRows: number;
}

/**
 * A bounded store of batches on stable storage, oldest first. `B` is what the buffer knows a batch by. Every call ends
 * within seconds, even if a disk or a server hangs: at the deadline of the shutdown it is waited for.
 */
export interface BatchBuffer<B extends BufferedBatch = BufferedBatch> {
  readonly kind: BufferKind;
  /** Rows in it. */
  readonly rows: number;
  /** Batches in it. */
  readonly batches: number;
  /** Batches that were set aside, by this run or an earlier one, and wait for a person. */
  readonly setAsideBatches: number;
  /** Room that they take, in bytes. */
  readonly bytes: number;
  /** Upper bound of `bytes`. */
  readonly maxBytes: number;
  /** A batch with no more bytes than this has room. */
  readonly freeBytes: number;
  /** False from a failure to store until a batch is stored again: the free room cannot be used then. */
  readonly isWritable: boolean;

  /** Finds out what an earlier run left. Called once, before all that follows; rejects when it cannot be used at all. */
  open(): Promise<BufferRecovery>;

  /**
   * Resolves when the batch is on stable storage. When it rejects, the caller still owns the batch: it was not kept, or
   * that is in doubt, and since ids are the primary key, a batch that is stored or written twice counts once.
   *
   * @throws BufferFullError when there is no room
   */
  store(batch: EncodedBatch): Promise<void>;

  /**
   * The batch that has waited the longest; undefined when none waits. A shared buffer asks for batches when this is
   * called, says by {@link BatchBuffer.onAvailable} that one has come, and keeps it from other processes until then.
   */
  oldest(): B | undefined;
  /** Undefined: it is damaged, was set aside and is in the buffer no more. Rejects when another try may do. */
  read(batch: B): Promise<EncodedBatch | undefined>;
  /** Takes out a batch whose rows have all ended. Never rejects; a batch that stays all the same ends as duplicates. */
  remove(batch: B): Promise<void>;
  /** No batch can be written now. A shared buffer lets other processes have those that it keeps from them. */
  pause(): void;
  /** Calls `listener` when a batch may be there that was not there before, in place of any listener before. */
  onAvailable(listener: (() => void) | undefined): void;

  /** Lets go of what it holds open; what waits in it stays. Safe before it was opened, and twice. */
  close(): Promise<void>;
}
