import fc from "fast-check";
import * as uuid from "uuid";
import { EventIds, type FillRandom, parseEventId } from "../../../src/event/event-id.js";
import { uuidv7TimeMs } from "../../../src/event/tuple-codec.js";
import { formatUuid, ID_BYTES } from "../../../src/event/uuid.js";
import { anyText, anyUuidv7, characterOf } from "../../support/arbitraries.js";

const NOW = Date.UTC(2026, 0, 15, 12);
const UUIDV7 = /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/;

/** Ids by a clock that the test sets. */
class Ids {
  nowMs = NOW;
  readonly #ids: EventIds;

  constructor(fillRandom?: FillRandom) {
    this.#ids = new EventIds({ now: () => this.nowMs, ...(fillRandom && { fillRandom }) });
  }

  skip(target: Uint8Array): void {
    this.#ids.next(target);
  }

  next(): Uint8Array {
    const id = new Uint8Array(ID_BYTES);
    this.#ids.next(id);
    return id;
  }
}

/** Fills with one bits: the counter then starts as high as it can. */
const allOnes: FillRandom = (target) => void target.fill(0xff);

/** Throws at the first of `count` ids that is not above the one before it. */
function expectAscending(ids: Ids, count: number, beforeEach: (i: number) => void = () => {}): void {
  let last: Uint8Array = new Uint8Array(ID_BYTES);
  for (let i = 0; i < count; i++) {
    beforeEach(i);
    const id = ids.next();
    if (Buffer.compare(last, id) >= 0) {
      throw new Error(`id ${i}, ${formatUuid(id)}, does not come after ${formatUuid(last)}`);
    }
    last = id;
  }
}

describe("EventIds", () => {
  it("makes UUIDs of version 7 and the variant of RFC 9562, with the time it is", () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 2 ** 48 - 1 }), (timeMs) => {
        const ids = new Ids();
        ids.nowMs = timeMs;
        const id = ids.next();
        expect(formatUuid(id)).toMatch(UUIDV7);
        expect(uuidv7TimeMs(id)).toBe(timeMs);
      }),
    );
  });

  it("makes what the uuid package takes for UUIDs of version 7, in its order", () => {
    const ids = new Ids();
    const texts = Array.from({ length: 1_000 }, (_, i) => {
      ids.nowMs += i % 3;
      return formatUuid(ids.next());
    });
    for (const text of texts) {
      expect(uuid.validate(text)).toBe(true);
      expect(uuid.version(text)).toBe(7);
    }
    expect(texts.toSorted()).toEqual(texts);
  });

  it("lays out time, version, counter, variant, counter, random bits", () => {
    const ids = new Ids((target) => void target.fill(0b1010_0101));
    ids.nowMs = 0x0123_4567_89ab;
    // The first 25 of those bits are the counter: 0x14b4b4b, as 12 bits and, behind the variant, 14.
    expect(formatUuid(ids.next())).toBe("01234567-89ab-752d-8b4b-a5a5a5a5a5a5");
    expect(formatUuid(ids.next())).toBe("01234567-89ab-752d-8b4c-a5a5a5a5a5a5");
  });

  it("ascends while the clock stands still", () => {
    expectAscending(new Ids(), 200_000);
  });

  it("ascends while the clock steps on", () => {
    const ids = new Ids();
    expectAscending(ids, 200_000, (i) => {
      ids.nowMs += i % 7 === 0 ? 1 : 0;
    });
  });

  it("ascends while the clock is slewed back, by up to ten seconds, and keeps the last time", () => {
    const ids = new Ids();
    expectAscending(ids, 10_001, (i) => {
      ids.nowMs = NOW - i;
    });
    expect(uuidv7TimeMs(ids.next())).toBe(NOW);
  });

  it("follows a clock that is set back by more than ten seconds", () => {
    const ids = new Ids();
    ids.next();
    ids.nowMs = NOW - 10_001;
    expect(uuidv7TimeMs(ids.next())).toBe(NOW - 10_001);
    expectAscending(ids, 1_000);
  });

  it("runs ahead of the clock when a millisecond has used up its counter, and waits for the clock then", () => {
    const ids = new Ids(allOnes);
    // The counter starts at 25 one bits and has 26, so that a millisecond has 2^25 more ids than the first.
    const target = new Uint8Array(ID_BYTES);
    for (let i = 0; i < 2 ** 25 - 100; i++) {
      ids.skip(target);
    }
    expectAscending(ids, 101);
    const first = ids.next();
    expect(uuidv7TimeMs(first)).toBe(NOW + 1);
    ids.nowMs = NOW + 1;
    const second = ids.next();
    expect(uuidv7TimeMs(second)).toBe(NOW + 1);
    expect(Buffer.compare(first, second)).toBe(-1);
  });

  it("starts each millisecond at a random count, and ends each id in random bits", () => {
    const starts = new Set<string>();
    const ends = new Set<string>();
    const ids = new Ids();
    for (let i = 0; i < 2_000; i++) {
      ids.nowMs += 1;
      const text = formatUuid(ids.next());
      starts.add(text.slice(15, 23));
      ends.add(text.slice(24));
    }
    expect(ends.size).toBe(2_000);
    // Of 2^25 counts, some may come twice.
    expect(starts.size).toBeGreaterThan(1_990);
  });

  it("writes to the first 16 bytes of its target and to no other", () => {
    const target = new Uint8Array(ID_BYTES + 4).fill(0xaa);
    new EventIds({ now: () => NOW }).next(target);
    expect([...target.subarray(ID_BYTES)]).toEqual([0xaa, 0xaa, 0xaa, 0xaa]);
  });
});

describe("parseEventId", () => {
  const parse = (text: string): string | undefined => {
    const id = new Uint8Array(ID_BYTES);
    return parseEventId(text, id) ? formatUuid(id) : undefined;
  };

  it("reads each UUIDv7, in lower, upper and mixed case", () => {
    fc.assert(
      fc.property(anyUuidv7(), fc.mixedCase(anyUuidv7()), (id, mixed) => {
        expect(parse(id)).toBe(id);
        expect(parse(id.toUpperCase())).toBe(id);
        expect(parse(mixed)).toBe(mixed.toLowerCase());
      }),
    );
  });

  it("reads the ids that EventIds makes", () => {
    const ids = new Ids();
    for (let i = 0; i < 1_000; i++) {
      const id = formatUuid(ids.next());
      expect(parse(id)).toBe(id);
    }
  });

  it("reads the ids that the uuid package makes, into the same bytes", () => {
    const id = new Uint8Array(ID_BYTES);
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 2 ** 48 - 1 }), (msecs) => {
        const text = uuid.v7({ msecs });
        expect(parseEventId(text, id)).toBe(true);
        expect(id).toEqual(uuid.parse(text));
        expect(uuidv7TimeMs(id)).toBe(msecs);
      }),
    );
  });

  it("refuses UUIDs of other versions and variants", () => {
    fc.assert(
      fc.property(anyUuidv7(), characterOf("012345689abcdef"), (id, digit) => {
        expect(parse(`${id.slice(0, 14)}${digit}${id.slice(15)}`)).toBeUndefined();
      }),
    );
    fc.assert(
      fc.property(anyUuidv7(), characterOf("01234567cdef"), (id, digit) => {
        expect(parse(`${id.slice(0, 19)}${digit}${id.slice(20)}`)).toBeUndefined();
      }),
    );
  });

  it("refuses a UUIDv7 with any one character replaced by one that does not belong there", () => {
    const notHex = anyText({ minLength: 1, maxLength: 1 }).filter((c) => !/[0-9a-f]/i.test(c));
    const anywhere = fc.nat({ max: 35 });
    fc.assert(
      fc.property(anyUuidv7(), anywhere, notHex, (id, at, character) => {
        fc.pre(character !== id[at]);
        expect(parse(id.slice(0, at) + character + id.slice(at + 1))).toBeUndefined();
      }),
      { numRuns: 1_000 },
    );
  });

  const id = "01890a5d-ac96-774b-bcce-b302099a8057";
  it.each([
    ["nothing", ""],
    ["no dashes", id.replaceAll("-", "")],
    ["no dashes, filled up", `${id.replaceAll("-", "")}0000`],
    ["braces", `{${id}}`],
    ["a URN", `urn:uuid:${id}`],
    ["one character less", id.slice(1)],
    ["one character more", `${id}0`],
    ["a space behind", `${id} `],
    ["dashes one place on", "01890a5da-c96-774b-bcce-b302099a8057"],
    ["the nil UUID", "00000000-0000-0000-0000-000000000000"],
    ["the max UUID", "ffffffff-ffff-ffff-ffff-ffffffffffff"],
    ["full-width digits", id.replace("0", "\uff10")],
    ["a character whose low byte is that of 0", id.replace("0", "\u0130")],
  ])("refuses %s", (_, text) => {
    expect(parse(text)).toBeUndefined();
  });
});
