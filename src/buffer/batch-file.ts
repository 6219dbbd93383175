/**
 * The form in which a batch is kept, as a file or as a message: a header and the batch's tuples behind it; writes and
 * checks bytes, and stores none.
 *
 * All integers are uint32, big-endian:
 *
 *     bytes 0–7    signature
 *           8–11   version of the format
 *          12–15   rows
 *          16–19   length of the payload, in bytes
 *          20–23   CRC-32 of the payload
 *          24–27   CRC-32 of bytes 0–23, so that the rows can be trusted before the payload has been read
 *          28–     payload: whole tuples, exactly the bytes that COPY takes (see event/tuple-codec.ts)
 */
import { crc32 } from "node:zlib";
import type { EncodedBatch } from "../event/tuple-codec.js";
import { tupleOffsets } from "../event/tuple-codec.js";

/** The bytes are not a batch in this form, or not as they were written. */
export class BatchFileError extends Error {
  override readonly name = "BatchFileError";
  /** What the header says; undefined when there is none that can be trusted. */
  readonly rows: number | undefined;

  constructor(message: string, options: { readonly rows?: number; readonly cause?: unknown } = {}) {
    super(message, { cause: options.cause });
    this.rows = options.rows;
  }
}

/** What a header says of its file. */
export interface BatchHeader {
  readonly rows: number;
  /** Length of the payload, in bytes. */
  readonly payloadBytes: number;
  /** CRC-32 of the payload. */
  readonly payloadCrc: number;
}

/** Length of the header, in bytes. */
export const BATCH_HEADER_BYTES = 28;

/** As PNG's: a byte that no text has, and a line end that a transfer as text would change. */
const SIGNATURE = Buffer.from("\x89SPOOL\r\n", "latin1");
const VERSION = 1;

const VERSION_AT = 8;
const ROWS_AT = 12;
const PAYLOAD_BYTES_AT = 16;
const PAYLOAD_CRC_AT = 20;
const HEADER_CRC_AT = 24;

/** The header for a batch; its chunks, in order, are the payload. */
export function encodeBatchHeader(batch: EncodedBatch): Buffer {
  const header = Buffer.alloc(BATCH_HEADER_BYTES);
  header.set(SIGNATURE);
  header.writeUInt32BE(VERSION, VERSION_AT);
  header.writeUInt32BE(batch.rows, ROWS_AT);
  header.writeUInt32BE(batch.bytes, PAYLOAD_BYTES_AT);
  header.writeUInt32BE(crcOf(batch.chunks), PAYLOAD_CRC_AT);
  header.writeUInt32BE(headerCrc(header), HEADER_CRC_AT);
  return header;
}

/**
 * Reads the header out of the start of a file.
 *
 * @throws BatchFileError
 */
export function decodeBatchHeader(start: Buffer): BatchHeader {
  if (!start.subarray(0, SIGNATURE.length).equals(SIGNATURE)) {
    throw new BatchFileError("it does not start as a batch does");
  }
  if (start.length < BATCH_HEADER_BYTES) {
    throw new BatchFileError("it ends within its header");
  }
  const version = start.readUInt32BE(VERSION_AT);
  if (version !== VERSION) {
    // Where the checksum is in a newer version is not known, so this may as well be damage.
    throw new BatchFileError(`its format has version ${version}, and only ${VERSION} is known`);
  }
  if (headerCrc(start) !== start.readUInt32BE(HEADER_CRC_AT)) {
    throw new BatchFileError("its header is damaged");
  }
  return {
    rows: start.readUInt32BE(ROWS_AT),
    payloadBytes: start.readUInt32BE(PAYLOAD_BYTES_AT),
    payloadCrc: start.readUInt32BE(PAYLOAD_CRC_AT),
  };
}

/**
 * Says that a file of `fileBytes` is as long as its header tells.
 *
 * @throws BatchFileError
 */
export function checkBatchFileLength(header: BatchHeader, fileBytes: number): void {
  const expected = BATCH_HEADER_BYTES + header.payloadBytes;
  if (fileBytes !== expected) {
    throw new BatchFileError(`it has ${fileBytes} bytes and should have ${expected}`, { rows: header.rows });
  }
}

/**
 * Reads a whole file back into the batch that it was made of.
 *
 * @throws BatchFileError when a single bit differs
 */
export function decodeBatchFile(file: Buffer): EncodedBatch {
  const header = decodeBatchHeader(file);
  checkBatchFileLength(header, file.length);
  const { rows, payloadBytes, payloadCrc } = header;
  const payload = file.subarray(BATCH_HEADER_BYTES);
  if (crc32(payload) !== payloadCrc) {
    throw new BatchFileError("its checksum does not match", { rows });
  }
  if (countTuples(payload, rows) !== rows) {
    throw new BatchFileError(`it does not hold the ${rows} rows that its header tells of`, { rows });
  }
  return { rows, bytes: payloadBytes, chunks: [payload] };
}

function countTuples(payload: Buffer, rows: number): number {
  try {
    return tupleOffsets(payload).length - 1;
  } catch (cause) {
    throw new BatchFileError("its rows are not of the form that this version writes", { rows, cause });
  }
}

function headerCrc(header: Buffer): number {
  return crc32(header.subarray(0, HEADER_CRC_AT));
}

function crcOf(chunks: readonly Uint8Array[]): number {
  return chunks.reduce((crc, chunk) => crc32(chunk, crc), 0);
}
