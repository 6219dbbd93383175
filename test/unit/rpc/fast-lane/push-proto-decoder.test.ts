import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { BinaryWriter, WireType } from "@bufbuild/protobuf/wire";
import fc from "fast-check";
import {
  AckMode,
  type PushBatchRequest,
  PushBatchRequestSchema,
  PushRequestSchema,
} from "../../../../gen/stats/v1/stats_pb.js";
import { decodePush, decodePushBatch } from "../../../../src/rpc/fast-lane/push-proto-decoder.js";
import { anyProperty, anyText, anyUuidv7 } from "../../../support/arbitraries.js";
import { expectStrictlyEqual } from "../../../support/same.js";

/** The message as protobuf-es reads it, or undefined when it refuses it. */
function reference(bytes: Uint8Array): PushBatchRequest | undefined {
  try {
    return fromBinary(PushBatchRequestSchema, bytes, { readUnknownFields: false });
  } catch {
    return undefined;
  }
}

/** Fails unless the decoder gives what protobuf-es gives, or nothing; tells which. */
function expectSame(bytes: Uint8Array): boolean {
  const message = decodePushBatch(Buffer.from(bytes));
  if (message !== undefined) {
    expectStrictlyEqual(message, reference(bytes));
  }
  return message !== undefined;
}

const anyProperties = fc.oneof(fc.string({ maxLength: 40 }), anyText({ maxLength: 200 }), anyProperty);
const anyAscii = fc.oneof(fc.string({ unit: "binary-ascii", maxLength: 200 }), anyProperty, anyUuidv7());
const anyUint32 = fc.oneof(
  fc.integer({ min: 0, max: 2 ** 32 - 1 }),
  fc.constantFrom(0, 1, 127, 128, 2 ** 14, 2 ** 21, 2 ** 28 - 1, 2 ** 28, 2 ** 31, 2 ** 32 - 1),
);

const anyEvents = (text: fc.Arbitrary<string>) =>
  fc.array(fc.record({ property: text, section: anyUint32, item: anyUint32, eventId: text }), {
    maxLength: 5,
  });

/** What encoders write. */
const anyEncoded = (text: fc.Arbitrary<string>) =>
  fc
    .record({ events: anyEvents(text), ack: fc.nat({ max: 3 }), allOrNothing: fc.boolean() })
    .map(({ ack, ...rest }) =>
      toBinary(PushBatchRequestSchema, create(PushBatchRequestSchema, { ...rest, ack: ack as AckMode })),
    );

/** Bytes that are nearly such a message: records in any order, more than once, in any wire type, and unknown ones. */
const anyRecord = (depth: number): fc.Arbitrary<(writer: BinaryWriter) => void> => {
  const number = fc.integer({ min: 1, max: 6 });
  const varint = fc
    .tuple(number, fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }), fc.boolean())
    .map(([no, value, isSmall]) => (writer: BinaryWriter) => {
      writer.tag(no, WireType.Varint).uint64(isSmall ? value & 0xffn : value);
    });
  const bytes = fc
    .tuple(number, fc.uint8Array({ maxLength: 5 }))
    .map(([no, value]) => (writer: BinaryWriter) => {
      writer.tag(no, WireType.LengthDelimited).bytes(value);
    });
  const text = fc.tuple(number, anyProperties).map(([no, value]) => (writer: BinaryWriter) => {
    writer.tag(no, WireType.LengthDelimited).string(value);
  });
  const fixed = fc.tuple(number, anyUint32).map(([no, value]) => (writer: BinaryWriter) => {
    writer.tag(no, WireType.Bit32).fixed32(value);
  });
  const overlong = fc
    .tuple(number, fc.integer({ min: 1, max: 9 }))
    .map(([no, zeros]) => (writer: BinaryWriter) => {
      writer.tag(no, WireType.Varint).raw(Uint8Array.from([...Array<number>(zeros).fill(0x80), 0x01]));
    });
  const group = fc.tuple(number, number).map(([no, end]) => (writer: BinaryWriter) => {
    writer.tag(no, WireType.StartGroup).tag(end, WireType.EndGroup);
  });
  const flat = [varint, bytes, text, fixed, overlong, group];
  if (depth === 0) {
    return fc.oneof(...flat);
  }
  const nested = fc
    .tuple(fc.array(anyRecord(depth - 1), { maxLength: 6 }), fc.integer({ min: -2, max: 2 }))
    .map(([records, off]) => (writer: BinaryWriter) => {
      const inner = new BinaryWriter();
      for (const write of records) {
        write(inner);
      }
      const content = inner.finish();
      // Mostly the right length, sometimes one that cuts the event off, or reaches into the next.
      const length = Math.max(0, content.length + (Math.abs(off) === 2 ? off : 0));
      writer.tag(1, WireType.LengthDelimited).uint32(length).raw(content);
    });
  return fc.oneof({ weight: 3, arbitrary: nested }, ...flat);
};

const anyRecords = fc.array(anyRecord(1), { maxLength: 6 }).map((records) => {
  const writer = new BinaryWriter();
  for (const write of records) {
    write(writer);
  }
  return writer.finish();
});

describe("decodePushBatch", () => {
  it("reads what encoders write, while texts are ASCII", () => {
    fc.assert(
      fc.property(anyEncoded(anyAscii), (bytes) => expectSame(bytes)),
      { numRuns: 1_000 },
    );
  });

  it("never differs from protobuf-es: other texts", () => {
    fc.assert(
      fc.property(anyEncoded(anyProperties), (bytes) => void expectSame(bytes)),
      { numRuns: 1_000 },
    );
  });

  it("never differs from protobuf-es: any order, repeated and unknown fields, odd wire types and lengths", () => {
    let taken = 0;
    fc.assert(
      fc.property(anyRecords, (bytes) => {
        taken += expectSame(bytes) ? 1 : 0;
      }),
      { numRuns: 20_000 },
    );
    expect(taken).toBeGreaterThan(100);
  });

  it("never differs from protobuf-es: a byte changed, the end cut off, or anything at all", () => {
    const mangled = fc
      .tuple(anyEncoded(anyAscii), fc.nat(), fc.integer({ min: 0, max: 255 }), fc.boolean())
      .map(([bytes, at, value, isCut]) => {
        const index = at % (bytes.length + 1);
        const isChanged = !isCut && index < bytes.length;
        return isChanged ? bytes.with(index, value) : bytes.subarray(0, index);
      });
    fc.assert(
      fc.property(fc.oneof(fc.uint8Array({ maxLength: 40 }), mangled), (bytes) => void expectSame(bytes)),
      { numRuns: 20_000 },
    );
  });

  it("takes the last of a field that comes more than once, and fields in any order", () => {
    const event = new BinaryWriter();
    event
      .tag(3, WireType.Varint)
      .uint32(1)
      .tag(2, WireType.Varint)
      .uint32(300)
      .tag(3, WireType.Varint)
      .uint32(2);
    const content = event.tag(1, WireType.LengthDelimited).string("news").finish();
    const writer = new BinaryWriter().tag(2, WireType.Varint).int32(AckMode.DURABLE);
    const bytes = writer.tag(1, WireType.LengthDelimited).bytes(content).finish();
    expect(decodePushBatch(Buffer.from(bytes))).toMatchObject({
      events: [{ property: "news", section: 300, item: 2, eventId: "" }],
      ack: AckMode.DURABLE,
    });
    expectSame(bytes);
  });

  it.each([0, 1, 127, 128, 133, 261])(
    "reads properties of %d characters, the same one again and another",
    (length) => {
      const properties = [
        "n".repeat(length),
        "n".repeat(length),
        "m".repeat(length),
        "n".repeat(length + 128),
      ];
      const events = properties.map((property) => ({ property, section: 1, item: 2, eventId: "" }));
      const bytes = toBinary(PushBatchRequestSchema, create(PushBatchRequestSchema, { events }));
      expect(expectSame(bytes)).toBe(true);
    },
  );

  it.each([
    ["an unknown field", [0x20, 1]],
    ["an unknown field of an event", [0x0a, 2, 0x28, 1]],
    ["a text that is not ASCII", [0x0a, 4, 0x0a, 2, 0xc3, 0xa9]],
    ["a number of more than 32 bits", [0x0a, 6, 0x10, 0xff, 0xff, 0xff, 0xff, 0x1f]],
    ["a field that reaches beyond its event", [0x0a, 2, 0x10, 0x80, 1]],
    ["a text that says it has 4 GiB", [0x0a, 6, 0x0a, 0xff, 0xff, 0xff, 0xff, 0x0f]],
  ])("leaves %s to protobuf-es", (_, bytes) => {
    expect(decodePushBatch(Buffer.from(bytes))).toBeUndefined();
  });
});

describe("decodePush", () => {
  /** Fails unless the decoder gives what protobuf-es gives, or nothing; tells which. */
  function expectSamePush(bytes: Uint8Array): boolean {
    const message = decodePush(Buffer.from(bytes));
    if (message !== undefined) {
      expectStrictlyEqual(message, fromBinary(PushRequestSchema, bytes, { readUnknownFields: false }));
    }
    return message !== undefined;
  }

  const anyPush = (text: fc.Arbitrary<string>) =>
    fc
      .record({
        property: text,
        section: anyUint32,
        item: anyUint32,
        eventId: text,
        ack: fc.nat({ max: 3 }) as fc.Arbitrary<AckMode>,
      })
      .map((fields) => toBinary(PushRequestSchema, create(PushRequestSchema, fields)));

  it("reads what encoders write, while texts are ASCII", () => {
    fc.assert(
      fc.property(anyPush(anyAscii), (bytes) => expectSamePush(bytes)),
      { numRuns: 1_000 },
    );
  });

  it("never differs from protobuf-es: other texts, any order, odd wire types, a byte changed or the end cut off", () => {
    const flatRecords = fc.array(anyRecord(0), { maxLength: 6 }).map((records) => {
      const writer = new BinaryWriter();
      for (const write of records) {
        write(writer);
      }
      return writer.finish();
    });
    const mangled = fc
      .tuple(anyPush(anyAscii), fc.nat(), fc.integer({ min: 0, max: 255 }), fc.boolean())
      .map(([bytes, at, value, isCut]) => {
        const index = at % (bytes.length + 1);
        return isCut || index === bytes.length ? bytes.subarray(0, index) : bytes.with(index, value);
      });
    let taken = 0;
    fc.assert(
      fc.property(fc.oneof(anyPush(anyProperties), flatRecords, mangled), (bytes) => {
        taken += expectSamePush(bytes) ? 1 : 0;
      }),
      { numRuns: 20_000 },
    );
    expect(taken).toBeGreaterThan(1_000);
  });
});
