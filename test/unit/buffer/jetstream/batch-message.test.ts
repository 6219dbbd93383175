import fc from "fast-check";
import { BatchFileError } from "../../../../src/buffer/batch-file.js";
import {
  batchSubject,
  fromMessage,
  rowsBySubject,
  rowsOf,
  toMessages,
} from "../../../../src/buffer/jetstream/batch-message.js";
import { anyRow } from "../../../support/arbitraries.js";
import { decodeTuples } from "../../../support/decoded.js";
import { encodeBatch, rowsAt } from "../../../support/encoded.js";

const NOW = Date.UTC(2026, 0, 15);

describe("a batch as messages", () => {
  it("is one message, whose content is the batch, where it fits", () => {
    const batch = encodeBatch(rowsAt(NOW, 100));
    const [message, ...others] = toMessages(batch, 2 ** 20);
    expect(others).toEqual([]);
    expect(message?.rows).toBe(100);
    const read = fromMessage(message?.payload ?? Buffer.alloc(0));
    expect(Buffer.concat(read.chunks)).toEqual(Buffer.concat(batch.chunks));
  });

  it("is as many messages as it takes, none larger than a server takes, with all rows in their order", () => {
    fc.assert(
      fc.property(
        fc.array(anyRow(), { minLength: 1, maxLength: 60 }),
        fc.integer({ min: 600, max: 4_000 }),
        (rows, maxPayloadBytes) => {
          const messages = toMessages(encodeBatch(rows, 1_000), maxPayloadBytes);
          expect(messages.every(({ payload }) => payload.length <= maxPayloadBytes)).toBe(true);
          const read = messages.flatMap(({ payload }) =>
            decodeTuples(Buffer.concat(fromMessage(payload).chunks)),
          );
          expect(read.map(({ id }) => id)).toEqual(rows.map(({ id }) => id));
          expect(messages.map(({ rows: count }) => count)).toEqual(
            messages.map(({ payload }) => fromMessage(payload).rows),
          );
        },
      ),
    );
  });

  it("cannot be read when a bit of it is wrong, and the rows are known still", () => {
    const [message] = toMessages(encodeBatch(rowsAt(NOW, 3)), 2 ** 20);
    const damaged = Buffer.from(message?.payload ?? []);
    damaged.writeUInt8(damaged.readUInt8(damaged.length - 1) ^ 1, damaged.length - 1);
    expect(() => fromMessage(damaged)).toThrow(BatchFileError);
    expect(() => fromMessage(damaged)).toThrow(expect.objectContaining({ rows: 3 }));
  });
});

test("the subjects of a stream tell its rows; a foreign one tells none", () => {
  expect(rowsOf(batchSubject("stats", 10_000))).toBe(10_000);
  expect(rowsOf("stats.batch.many")).toBe(0);
  expect(rowsBySubject({ [batchSubject("s", 10)]: 3, [batchSubject("s", 7)]: 1, "s.batch.x": 9 })).toBe(37);
});
