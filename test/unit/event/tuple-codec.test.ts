import fc from "fast-check";
import {
  COPY_HEADER,
  columnArrays,
  TUPLE_MAX_BYTES,
  TupleFormatError,
  tupleOffsets,
  uuidv7TimeMs,
} from "../../../src/event/tuple-codec.js";
import { anyRow, anyTimeMs } from "../../support/arbitraries.js";
import { decodeTuples } from "../../support/decoded.js";
import { encodeRow, row, uuidBytes, uuidv7At } from "../../support/encoded.js";

const anyTuples = fc
  .array(anyRow(), { minLength: 1, maxLength: 5 })
  .map((rows) => ({ rows, tuples: Buffer.concat(rows.map(encodeRow)) }));

/** What reading the bytes ends with; anything but columns or a TupleFormatError fails the test. */
function read(bytes: Buffer): "columns" | "refused" {
  try {
    columnArrays(bytes);
    return "columns";
  } catch (error) {
    expect(error).toBeInstanceOf(TupleFormatError);
    return "refused";
  }
}

describe("writeTuple", () => {
  it("writes the format that PostgreSQL documents", () => {
    const tuple = encodeRow(
      row("01890a5d-ac96-774b-bcce-b302099a8057", { property: "news", section: 3, itemId: 0xfffffffe }),
    );
    expect(tuple.toString("hex")).toBe(
      [
        "0006",
        "00000010" + "01890a5dac96774bbcceb302099a8057",
        "00000004" + "6e657773",
        "00000008" + "0000000000000003",
        "00000008" + "00000000fffffffe",
        "00000008" + "02200004c0000207",
        "00000008" + "0002a24f42b249f0",
      ].join(""),
    );
  });

  it("writes NULL for an address that is not known", () => {
    const id = uuidv7At(Date.UTC(2026, 0, 1));
    const known = encodeRow(row(id, { remoteIp: "192.0.2.7" })).toString("hex");
    const unknown = encodeRow(row(id, { remoteIp: null })).toString("hex");
    expect(unknown).toBe(known.replace("0000000802200004c0000207", "ffffffff"));
  });

  it("fills TUPLE_MAX_BYTES with the largest event, and exceeds it with none", () => {
    const largest = row(uuidv7At(0), { property: "p".repeat(32), remoteIp: "2001:db8::1" });
    expect(encodeRow(largest)).toHaveLength(TUPLE_MAX_BYTES);
    expect(decodeTuples(encodeRow(largest))).toEqual([largest]);
    // encodeRow gives it exactly that room; one byte too many would be lost, and the row with it.
    fc.assert(fc.property(anyRow(), (any) => expect(decodeTuples(encodeRow(any))).toEqual([any])));
  });
});

describe("columnArrays", () => {
  it("turns tuples into the arrays that PostgreSQL documents", () => {
    const rows = [row(uuidv7At(0, 1), { property: "news" }), row(uuidv7At(0, 2), { remoteIp: null })];
    const [ids, properties, sections, , addresses] = columnArrays(Buffer.concat(rows.map(encodeRow))).map(
      (array) => array.toString("hex"),
    );
    const header = (type: number) => `0000000100000001${type.toString(16).padStart(8, "0")}0000000200000001`;
    const idOf = (n: number) => `000000100000000000007000800000000000000${n}`;
    expect(ids).toBe(`${header(2950)}${idOf(1)}${idOf(2)}`);
    expect(properties).toBe(`${header(25)}000000046e657773000000046e657773`);
    expect(sections).toBe(`${header(20)}000000080000000000000003000000080000000000000003`);
    expect(addresses).toBe(`${header(869)}0000000802200004c0000207ffffffff`);
  });

  it("refuses tuples that are cut anywhere but between two", () => {
    fc.assert(
      fc.property(anyTuples, fc.nat(), ({ tuples }, at) => {
        const length = at % tuples.length;
        const isBetween = tupleOffsets(tuples).includes(length);
        expect(read(tuples.subarray(0, length))).toBe(isBetween ? "columns" : "refused");
      }),
    );
  });

  it("answers changed bytes with columns or a TupleFormatError, never with another error", () => {
    const change = fc.tuple(fc.nat(), fc.integer({ min: 0, max: 255 }));
    fc.assert(
      fc.property(anyTuples, fc.array(change, { minLength: 1, maxLength: 4 }), ({ tuples }, changes) => {
        for (const [at, value] of changes) {
          tuples[at % tuples.length] = value;
        }
        read(tuples);
      }),
      { numRuns: 2_000 },
    );
  });

  it("answers arbitrary bytes with a TupleFormatError", () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 1, maxLength: 200 }), (bytes) => {
        expect(read(Buffer.from(bytes))).toBe("refused");
      }),
    );
  });

  const [id, property, number, inet, stamp] = [
    "00000010" + "01890a5dac96774bbcceb302099a8057",
    "00000004" + "6e657773",
    "00000008" + "0000000000000003",
    "00000008" + "02200004c0000207",
    "00000008" + "0002a24f42b249f0",
  ];
  it.each([
    ["the header of a COPY stream", COPY_HEADER.toString("hex")],
    ["five fields", `0005${id}${property}${number}${number}${inet}`],
    ["a length below -1", `0006fffffffe${property}${number}${number}${inet}${stamp}`],
    ["an address with a length below -1", `0006${id}${property}${number}${number}fffffffe${stamp}`],
  ])("refuses %s", (_, hex) => {
    expect(read(Buffer.from(hex, "hex"))).toBe("refused");
  });
});

describe("tupleOffsets", () => {
  it("tells where each tuple starts and where the last one ends", () => {
    fc.assert(
      fc.property(anyTuples, ({ rows, tuples }) => {
        const offsets = tupleOffsets(tuples);
        expect(offsets.at(-1)).toBe(tuples.length);
        const apart = rows.map((_, i) => tuples.subarray(offsets[i], offsets[i + 1]));
        expect(apart).toEqual(rows.map(encodeRow));
      }),
    );
  });
});

describe("uuidv7TimeMs", () => {
  it("reads the time out of an id, at any offset", () => {
    fc.assert(
      fc.property(anyTimeMs, fc.nat({ max: 64 }), (timeMs, offset) => {
        const bytes = Buffer.concat([Buffer.alloc(offset, 0xff), uuidBytes(uuidv7At(timeMs))]);
        expect(uuidv7TimeMs(bytes, offset)).toBe(timeMs);
      }),
    );
  });
});
