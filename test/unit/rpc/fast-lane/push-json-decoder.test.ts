import { fromJsonString, toJsonString } from "@bufbuild/protobuf";
import fc from "fast-check";
import { type AckMode, type PushRequest, PushRequestSchema } from "../../../../gen/stats/v1/stats_pb.js";
import { decodePushJson } from "../../../../src/rpc/fast-lane/push-json-decoder.js";
import { anyProperty, anyUuidv7 } from "../../../support/arbitraries.js";
import { expectStrictlyEqual } from "../../../support/same.js";

/** The message as protobuf-es reads it, or undefined when it refuses it. */
function reference(text: string): PushRequest | undefined {
  try {
    return fromJsonString(PushRequestSchema, text, { ignoreUnknownFields: true });
  } catch {
    return undefined;
  }
}

/** Fails unless the decoder gives what protobuf-es gives, or nothing; tells which. */
function expectSame(bytes: Buffer): boolean {
  const message = decodePushJson(bytes);
  if (message !== undefined) {
    expectStrictlyEqual({ ...message }, { ...reference(bytes.toString("utf8")) });
  }
  return message !== undefined;
}

const anyUint32 = fc.oneof(
  fc.integer({ min: 0, max: 2 ** 32 - 1 }),
  fc.constantFrom(0, 1, 9, 10, 2 ** 32 - 1),
);
const anySpace = fc.string({ unit: fc.constantFrom(" ", "\t", "\n", "\r"), maxLength: 2 });

/** What clients write. */
const anyPlain = fc
  .record({
    property: anyProperty,
    section: anyUint32,
    item: anyUint32,
    eventId: fc.oneof(fc.constant(""), anyUuidv7()),
    ack: fc.constantFrom<AckMode[]>(0, 1, 2),
  })
  .map((fields) => toJsonString(PushRequestSchema, { $typeName: "stats.v1.PushRequest", ...fields }));

/** Values that a field may be given, and most that it may not. */
const anyValue = fc.oneof(
  fc.string({ maxLength: 10 }),
  anyProperty,
  fc.constantFrom(
    "ACK_MODE_DURABLE",
    "ACK_MODE_QUEUED",
    "ACK_MODE_UNSPECIFIED",
    "ACK_MODE_NONE",
    "\u00e9",
    'a"b',
  ),
  anyUint32,
  fc.double(),
  fc.integer(),
  fc.bigInt({ min: 0n, max: 2n ** 70n }).map(String),
  fc.constantFrom(null, true, {}, [], [1], { id: 1 }),
);
const anyNumberText = fc.constantFrom(
  "00",
  "01",
  "-0",
  "-1",
  "1.0",
  "1e2",
  "4294967295",
  "4294967296",
  "99999999999",
  ".5",
  "+1",
);
const anyKey = fc.constantFrom(
  "property",
  "section",
  "id",
  "item",
  "eventId",
  "event_id",
  "ack",
  "Property",
  "other",
  "",
  "i",
  "idd",
  "__proto__",
);

/** Objects that are nearly such a message: any keys, more than once, any values, space anywhere. */
const anyNearly = fc
  .array(
    fc.tuple(
      anyKey,
      fc.oneof(
        anyValue.map((value) => JSON.stringify(value)),
        anyNumberText,
      ),
      anySpace,
    ),
    {
      maxLength: 6,
    },
  )
  .map((members) => {
    const texts = members.map(
      ([key, value, space]) => `${space}${JSON.stringify(key)}${space}:${space}${value}${space}`,
    );
    return `{${texts.join(",")}}`;
  });

describe("decodePushJson", () => {
  it("reads what clients write", () => {
    fc.assert(
      fc.property(anyPlain, anySpace, (text, space) => {
        const spaced = text.replaceAll(/(?<=[{:,])|(?=[}:,])/g, space);
        // Fields that have their defaults are not written; an object without any is not worth a way of its own.
        return text === "{}" || expectSame(Buffer.from(spaced));
      }),
      { numRuns: 2_000 },
    );
  });

  it("never differs from protobuf-es: any keys and values, repeated, and space anywhere", () => {
    let taken = 0;
    fc.assert(
      fc.property(anyNearly, (text) => {
        taken += expectSame(Buffer.from(text)) ? 1 : 0;
      }),
      { numRuns: 20_000 },
    );
    expect(taken).toBeGreaterThan(100);
  });

  it("never differs from protobuf-es: a byte changed, the end cut off, something behind it, or anything at all", () => {
    const mangled = fc
      .tuple(anyPlain, fc.nat(), fc.integer({ min: 0, max: 255 }), fc.constantFrom("change", "cut", "add"))
      .map(([text, at, value, how]) => {
        const bytes = Buffer.from(text);
        const index = at % bytes.length;
        if (how === "change") {
          bytes[index] = value;
        }
        return how === "cut"
          ? bytes.subarray(0, index)
          : how === "add"
            ? Buffer.concat([bytes, Buffer.of(value)])
            : bytes;
      });
    const anything = fc.uint8Array({ maxLength: 40 }).map((bytes) => Buffer.from(bytes));
    fc.assert(
      fc.property(fc.oneof(anything, mangled), (bytes) => void expectSame(bytes)),
      { numRuns: 20_000 },
    );
  });

  it.each([
    ["a field that comes twice", '{"id":1,"id":2}'],
    ["a field under both of its names", '{"eventId":"","event_id":""}'],
    ["a field that the contract does not have", '{"id":1,"color":"red"}'],
    ["an escape", '{"property":"\\u006eews"}'],
    ["a character beyond ASCII", '{"property":"né"}'],
    ["a number in a text", '{"id":"1"}'],
    ["a comma too many", '{"id":1,}'],
    ["a number too large", '{"id":4294967296}'],
    ["a list", "[]"],
    ["nothing", ""],
  ])("leaves %s to protobuf-es", (_, text) => {
    expect(decodePushJson(Buffer.from(text))).toBeUndefined();
  });
});
