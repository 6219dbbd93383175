/**
 * The bytes of one row of `incoming` in PostgreSQL's binary COPY format: writes and reads them, and never
 * touches a connection.
 *
 * Format: https://www.postgresql.org/docs/current/sql-copy.html#SQL-COPY-FILE-FORMATS-BINARY-FORMAT
 *
 * A tuple is an int16 field count and then, for each field, an int32 length (−1 for NULL) and that many bytes,
 * all big-endian. Ours has six fields, in the order of {@link INCOMING_COLUMNS}.
 */
import { ID_BYTES } from "./uuid.js";

/** Events as they wait, travel and rest: these bytes are the queue, the buffer, and what COPY sends. */
export interface EncodedBatch {
  /** Number of tuples in all chunks together; at least 1. */
  readonly rows: number;
  /** Total length of the chunks. */
  readonly bytes: number;
  readonly chunks: readonly Uint8Array[];
}

/** The columns that a tuple holds, in its order. */
export const INCOMING_COLUMNS = [
  "id",
  "property",
  "property_section",
  "property_id",
  "remote_ip",
  "stamp",
] as const;

/** What a COPY stream opens with: signature, no flags, no header extension. */
export const COPY_HEADER = Buffer.concat([Buffer.from("PGCOPY\n\xff\r\n\0", "latin1"), Buffer.alloc(8)]);

/** What a COPY stream ends with: a field count of −1. */
export const COPY_TRAILER = Buffer.from([0xff, 0xff]);

/** Longest property, in characters; all are ASCII, so in bytes too. */
export const PROPERTY_MAX_BYTES = 32;

const INET_MAX_BYTES = 20;
const INT64_BYTES = 8;

/** The largest tuple that {@link writeTuple} can make, in bytes. */
export const TUPLE_MAX_BYTES =
  2 + 6 * 4 + ID_BYTES + PROPERTY_MAX_BYTES + INT64_BYTES + INT64_BYTES + INET_MAX_BYTES + INT64_BYTES;

/** PostgreSQL counts timestamps from 2000-01-01T00:00:00Z: that moment, in Unix milliseconds. */
const POSTGRES_EPOCH_MS = Date.UTC(2000, 0, 1);
const TWO_TO_32 = 2 ** 32;

function writeUint32(target: Uint8Array, offset: number, value: number): number {
  target[offset] = value >>> 24;
  target[offset + 1] = value >>> 16;
  target[offset + 2] = value >>> 8;
  target[offset + 3] = value;
  return offset + 4;
}

function writeBytes(target: Uint8Array, offset: number, bytes: Uint8Array): number {
  const length = bytes.length;
  for (let i = 0; i < length; i++) {
    target[offset + i] = bytes[i] as number;
  }
  return offset + length;
}

/** Writes a bigint field from a uint32. */
function writeUint32Field(target: Uint8Array, offset: number, value: number): number {
  const afterLength = writeUint32(target, offset, INT64_BYTES);
  const afterHigh = writeUint32(target, afterLength, 0);
  return writeUint32(target, afterHigh, value);
}

/** Unix time in milliseconds out of the first 48 bits of a UUIDv7 (RFC 9562, section 5.7). */
export function uuidv7TimeMs(id: Uint8Array, offset = 0): number {
  const high = ((id[offset] as number) << 8) | (id[offset + 1] as number);
  const low =
    (((id[offset + 2] as number) << 24) |
      ((id[offset + 3] as number) << 16) |
      ((id[offset + 4] as number) << 8) |
      (id[offset + 5] as number)) >>>
    0;
  return high * TWO_TO_32 + low;
}

/**
 * Writes one tuple and returns the offset behind it.
 *
 * The caller guarantees the shapes, and room for {@link TUPLE_MAX_BYTES}: `id` is a UUIDv7 of 16 bytes (the
 * stamp is read out of it), `property` is 1 to 32 ASCII characters, `section` and `itemId` are uint32, and
 * `inet` is the output of `encodeInet` (empty: NULL).
 */
export function writeTuple(
  target: Uint8Array,
  start: number,
  id: Uint8Array,
  property: string,
  section: number,
  itemId: number,
  inet: Uint8Array,
): number {
  target[start] = 0;
  target[start + 1] = INCOMING_COLUMNS.length;
  let offset = writeBytes(target, writeUint32(target, start + 2, ID_BYTES), id);

  const length = property.length;
  offset = writeUint32(target, offset, length);
  for (let i = 0; i < length; i++) {
    target[offset + i] = property.charCodeAt(i);
  }
  offset = writeUint32Field(target, offset + length, section);
  offset = writeUint32Field(target, offset, itemId);

  if (inet.length === 0) {
    offset = writeUint32(target, offset, 0xffffffff);
  } else {
    offset = writeBytes(target, writeUint32(target, offset, inet.length), inet);
  }

  // Exact until the year 2285, from when on microseconds exceed 2^53.
  const stampUs = (uuidv7TimeMs(id) - POSTGRES_EPOCH_MS) * 1000;
  offset = writeUint32(target, offset, INT64_BYTES);
  offset = writeUint32(target, offset, Math.floor(stampUs / TWO_TO_32));
  return writeUint32(target, offset, stampUs % TWO_TO_32);
}

/** The bytes were not tuples as {@link writeTuple} makes them. */
export class TupleFormatError extends Error {
  override readonly name = "TupleFormatError";
}

/**
 * Where each tuple starts, and, last, where the final one ends: `rows + 1` offsets.
 *
 * @throws TupleFormatError when the bytes do not end with a tuple or are not such tuples at all
 */
export function tupleOffsets(tuples: Buffer): number[] {
  const offsets = [0];
  let offset = 0;
  while (offset < tuples.length) {
    offset = tupleEnd(tuples, offset);
    offsets.push(offset);
  }
  return offsets;
}

function tupleEnd(tuples: Buffer, start: number): number {
  let offset = start + 2;
  if (offset > tuples.length || tuples.readInt16BE(start) !== INCOMING_COLUMNS.length) {
    throw new TupleFormatError(`no tuple of ${INCOMING_COLUMNS.length} fields at byte ${start}`);
  }
  for (let field = 0; field < INCOMING_COLUMNS.length; field++) {
    const length = offset + 4 <= tuples.length ? tuples.readInt32BE(offset) : -2;
    offset += 4 + Math.max(length, 0);
    if (length < -1 || offset > tuples.length) {
      throw new TupleFormatError(`the tuple at byte ${start} is cut off or malformed`);
    }
  }
  return offset;
}

/** What an array in PostgreSQL's binary form opens with, and the types of {@link INCOMING_COLUMNS}, as pg_type numbers them. */
const ARRAY_HEADER_BYTES = 20;
const COLUMN_TYPES = [2950, 25, 20, 20, 869, 1184] as const;

/**
 * The tuples turned on their side: for each column an array in PostgreSQL's binary form, in which fields are as in a
 * tuple.
 *
 * Format (PostgreSQL's src/backend/utils/adt/arrayfuncs.c, array_recv): an int32 each of dimensions, 1 if there may be
 * NULLs, type of the elements, their number and the index of the first; then the elements.
 *
 * @throws TupleFormatError
 */
export function columnArrays(tuples: Buffer): Buffer[] {
  const starts = tupleOffsets(tuples).slice(0, -1);
  const arrays = COLUMN_TYPES.map((type) => {
    const array = Buffer.allocUnsafe(ARRAY_HEADER_BYTES + tuples.length);
    for (const [i, value] of [1, 1, type, starts.length, 1].entries()) {
      array.writeInt32BE(value, i * 4);
    }
    return array;
  });
  const ends = arrays.map(() => ARRAY_HEADER_BYTES);
  for (const start of starts) {
    let offset = start + 2;
    for (const [column, array] of arrays.entries()) {
      const end = offset + 4 + Math.max(tuples.readInt32BE(offset), 0);
      ends[column] = (ends[column] as number) + tuples.copy(array, ends[column], offset, end);
      offset = end;
    }
  }
  return arrays.map((array, column) => array.subarray(0, ends[column]));
}
