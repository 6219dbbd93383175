/**
 * Batches as messages: which messages a batch becomes, and what a message holds; it sends and receives none.
 *
 * A message's payload is a batch in the form of batch-file.ts. Its subject ends with the number of rows, so that the
 * stream's count of messages per subject tells the rows in the stream, exactly and at any time. The header `Stats-Rows`
 * says the same to people and tools that look at one message.
 */
import type { EncodedBatch } from "../../event/tuple-codec.js";
import { tupleOffsets } from "../../event/tuple-codec.js";
import { BATCH_HEADER_BYTES, decodeBatchFile, encodeBatchHeader } from "../batch-file.js";

/** A batch, or a part of one, as it is published. */
export interface BatchMessage {
  readonly rows: number;
  readonly payload: Buffer;
}

export const ROWS_HEADER = "Stats-Rows";

/** Room within a server's max_payload for the headers that go with a message. */
const HEADERS_MAX_BYTES = 256;

/** The subjects of a stream's batches. */
export function batchSubjects(stream: string): string {
  return `${stream}.batch.*`;
}

/** The subject of a batch of so many rows. */
export function batchSubject(stream: string, rows: number): string {
  return `${stream}.batch.${rows}`;
}

/** The rows in all messages, by the number of messages per subject. A foreign message has a subject of no rows. */
export function rowsBySubject(subjects: Readonly<Record<string, number>>): number {
  return Object.entries(subjects).reduce((sum, [subject, messages]) => sum + rowsOf(subject) * messages, 0);
}

/** 0: the subject is not one that a batch is published under. */
export function rowsOf(subject: string): number {
  const last = subject.slice(subject.lastIndexOf(".") + 1);
  return /^[1-9]\d{0,8}$/.test(last) ? Number(last) : 0;
}

/** The messages that hold a batch together, each of whole rows and no larger than a server takes, in order. */
export function toMessages(batch: EncodedBatch, maxPayloadBytes: number): BatchMessage[] {
  const tuplesMaxBytes = maxPayloadBytes - BATCH_HEADER_BYTES - HEADERS_MAX_BYTES;
  return split(batch, tuplesMaxBytes).map((part) => ({
    rows: part.rows,
    payload: Buffer.concat([encodeBatchHeader(part), ...part.chunks]),
  }));
}

function split(batch: EncodedBatch, maxBytes: number): EncodedBatch[] {
  if (batch.bytes <= maxBytes) {
    return [batch];
  }
  const tuples = Buffer.concat(batch.chunks);
  const offsets = tupleOffsets(tuples);
  const parts: EncodedBatch[] = [];
  let first = 0;
  while (first < batch.rows) {
    const start = offsets[first] ?? 0;
    let end = first + 1;
    while (end < batch.rows && (offsets[end + 1] ?? 0) - start <= maxBytes) {
      end += 1;
    }
    const chunk = tuples.subarray(start, offsets[end]);
    parts.push({ rows: end - first, bytes: chunk.length, chunks: [chunk] });
    first = end;
  }
  return parts;
}

/**
 * The batch in a message.
 *
 * @throws BatchFileError when it is damaged, or no batch at all
 */
export function fromMessage(payload: Uint8Array): EncodedBatch {
  return decodeBatchFile(Buffer.from(payload.buffer, payload.byteOffset, payload.byteLength));
}
