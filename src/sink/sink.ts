/** What the Flusher needs of the place where batches end: an interface and its errors, no behaviour. */

import type { FaultClass } from "../postgres/sqlstate.js";
import { messageOf } from "../util/error-message.js";

/** Events as they wait, travel and rest: binary-COPY tuples, whole tuples in each chunk. */
export interface EncodedBatch {
  /** Number of tuples in all chunks together; at least 1. */
  readonly rows: number;
  /** Total length of the chunks. */
  readonly bytes: number;
  readonly chunks: readonly Uint8Array[];
}

/** Where the rows of a batch ended; the three add up to the batch's rows. */
export interface WriteOutcome {
  readonly inserted: number;
  /** Rows whose id was in the table already: pushed before, or written by an attempt whose answer was lost. */
  readonly duplicates: number;
  /** Rows that PostgreSQL refuses whatever we do, kept as dead letters. */
  readonly dead: number;
  /** The same by SQLSTATE, `none` where there was no code. Absent when there are none. */
  readonly deadBySqlstate?: Readonly<Record<string, number>>;
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
  /** How to go on: see the classifier in postgres/sqlstate.ts. */
  readonly faultClass: FaultClass;
  /** PostgreSQL's code for the fault; undefined when the fault was not PostgreSQL's. */
  readonly sqlstate: string | undefined;

  constructor(faultClass: FaultClass, sqlstate: string | undefined, cause: unknown) {
    super(messageOf(cause), { cause });
    this.faultClass = faultClass;
    this.sqlstate = sqlstate;
  }

  /** What a sink has thrown, as what it should have thrown. */
  static of(error: unknown): SinkError {
    return error instanceof SinkError ? error : new SinkError("unknown", undefined, error);
  }
}
