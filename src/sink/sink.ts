/** The place where batches end, as the pipeline needs it: an interface and its errors. */

import type { EncodedBatch } from "../event/tuple-codec.js";
import { messageOf } from "../util/error-message.js";
import type { FaultClass } from "../util/fault-class.js";

/** Where the rows of a batch ended; the numbers add up to the batch's rows. */
export interface WriteOutcome {
  readonly inserted: number;
  /** Rows whose id was in the table already: pushed before, or written by an attempt whose answer was lost. */
  readonly duplicates: number;
  /** Rows that are refused whatever we do, kept as dead letters. */
  readonly dead: number;
  /** Rows that went into a buffer from which another process writes them. Absent: none. */
  readonly forwarded?: number;
  /** The dead ones by the code of the refusal, `none` where there was none. Absent when no row is dead. */
  readonly deadByCode?: Readonly<Record<string, number>>;
}

export interface WriteOptions {
  /** Aborts the attempt; the batch may or may not have been written then, so it must be tried again. */
  readonly signal: AbortSignal;
  /** 1 for the first try of this batch, 2 for the second, and so on. */
  readonly attempt: number;
}

/** The place where batches end. */
export interface Sink {
  /**
   * Writes a batch so that each of its rows ends once, however often this is called with the same batch.
   *
   * @throws SinkError when not all of it has ended; call again with the same batch
   */
  write(batch: EncodedBatch, options: WriteOptions): Promise<WriteOutcome>;
}

/** A batch could not be written now. */
export class SinkError extends Error {
  override readonly name = "SinkError";
  /** How to go on. */
  readonly faultClass: FaultClass;
  /** What the database calls the fault; undefined when the fault was not the database's. */
  readonly code: string | undefined;

  constructor(faultClass: FaultClass, code: string | undefined, cause: unknown) {
    super(messageOf(cause), { cause });
    this.faultClass = faultClass;
    this.code = code;
  }

  /** What a sink has thrown, as what it should have thrown. */
  static of(error: unknown): SinkError {
    return error instanceof SinkError ? error : new SinkError("unknown", undefined, error);
  }
}
