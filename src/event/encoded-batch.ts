/** Events as they wait, travel and rest. */

/** Tuples of PostgreSQL's binary COPY format, whole tuples in each chunk: these bytes are the queue, the buffer and what COPY sends. */
export interface EncodedBatch {
  /** Number of tuples in all chunks together; at least 1. */
  readonly rows: number;
  /** Total length of the chunks. */
  readonly bytes: number;
  readonly chunks: readonly Uint8Array[];
}
