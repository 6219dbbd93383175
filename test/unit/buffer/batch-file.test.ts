import fc from "fast-check";
import {
  BATCH_HEADER_BYTES,
  BatchFileError,
  decodeBatchFile,
  decodeBatchHeader,
  encodeBatchHeader,
} from "../../../src/buffer/batch-file.js";
import type { EncodedBatch } from "../../../src/event/tuple-codec.js";
import { anyRow } from "../../support/arbitraries.js";
import { decodeTuples } from "../../support/decoded.js";
import { encodeBatch, rowsAt } from "../../support/encoded.js";

const NOW = Date.UTC(2026, 0, 15);

function encodeFile(batch: EncodedBatch): Buffer {
  return Buffer.concat([encodeBatchHeader(batch), ...batch.chunks]);
}

/** Rows as far as an error knows them. */
function rejectedRows(file: Buffer): number | undefined {
  try {
    decodeBatchFile(file);
  } catch (error) {
    expect(error).toBeInstanceOf(BatchFileError);
    return (error as BatchFileError).rows;
  }
  throw new Error("the file was taken for whole");
}

const small = encodeFile(encodeBatch(rowsAt(NOW, 3)));

describe("a spool file", () => {
  it("gives back the batch that it was made of, whatever its rows and chunks", () => {
    const anyChunkBytes = fc.integer({ min: 200, max: 2_000 });
    fc.assert(
      fc.property(fc.array(anyRow(), { minLength: 1, maxLength: 40 }), anyChunkBytes, (rows, chunkBytes) => {
        const batch = encodeBatch(rows, chunkBytes);
        const decoded = decodeBatchFile(encodeFile(batch));
        expect(decoded).toMatchObject({ rows: rows.length, bytes: batch.bytes });
        expect(Buffer.concat(decoded.chunks)).toEqual(Buffer.concat(batch.chunks));
        expect(decodeTuples(Buffer.concat(decoded.chunks))).toEqual(rows);
      }),
    );
  });

  it("tells its rows and its length in the header alone", () => {
    expect(decodeBatchHeader(small.subarray(0, BATCH_HEADER_BYTES))).toMatchObject({
      rows: 3,
      payloadBytes: small.length - BATCH_HEADER_BYTES,
    });
  });

  it("is rejected when any one bit is flipped", () => {
    for (let bit = 0; bit < small.length * 8; bit++) {
      const damaged = Buffer.from(small);
      damaged.writeUInt8(damaged.readUInt8(bit >> 3) ^ (1 << (bit & 7)), bit >> 3);
      rejectedRows(damaged);
    }
  });

  it("is rejected when any one byte is another", () => {
    for (let offset = 0; offset < small.length; offset++) {
      for (const mask of [0xff, 0x0f, 0xa5]) {
        const damaged = Buffer.from(small);
        damaged.writeUInt8(damaged.readUInt8(offset) ^ mask, offset);
        rejectedRows(damaged);
      }
    }
  });

  it("is rejected when it is truncated anywhere, and still tells its rows when its header is whole", () => {
    for (let length = 0; length < small.length; length++) {
      expect(rejectedRows(small.subarray(0, length))).toBe(length < BATCH_HEADER_BYTES ? undefined : 3);
    }
  });

  it("is rejected when something is behind it", () => {
    expect(rejectedRows(Buffer.concat([small, Buffer.alloc(1)]))).toBe(3);
    expect(rejectedRows(Buffer.concat([small, small]))).toBe(3);
  });

  it("is rejected when it is zeros, as after a power failure", () => {
    expect(rejectedRows(Buffer.alloc(small.length))).toBeUndefined();
  });

  it("is rejected when it is of another version, which the message tells", () => {
    const newer = Buffer.from(small);
    newer.writeUInt32BE(2, 8);
    expect(() => decodeBatchFile(newer)).toThrow(/version 2/);
  });

  it("is rejected when its header tells of more or fewer rows than it holds", () => {
    const batch = encodeBatch(rowsAt(NOW, 3));
    const { chunks, bytes } = batch;
    for (const rows of [2, 4]) {
      expect(rejectedRows(encodeFile({ rows, bytes, chunks }))).toBe(rows);
    }
  });

  it("is rejected when its payload is sound but not rows", () => {
    const chunk = Buffer.from("anything but tuples");
    expect(rejectedRows(encodeFile({ rows: 1, bytes: chunk.length, chunks: [chunk] }))).toBe(1);
  });
});
