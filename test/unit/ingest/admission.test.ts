import fc from "fast-check";
import { EventIds } from "../../../src/event/event-id.js";
import { decodeInet, encodeInet } from "../../../src/event/inet.js";
import { uuidv7TimeMs } from "../../../src/event/tuple-codec.js";
import { formatUuid } from "../../../src/event/uuid.js";
import { Admission, type EventInput, type RemoteIpPolicy } from "../../../src/ingest/admission.js";
import { AheadOfClockError, type FieldViolation, InvalidEventError } from "../../../src/ingest/refusal.js";
import { anyPositiveUint32, anyProperty, anyUuidv7 } from "../../support/arbitraries.js";
import { uuidv7At } from "../../support/encoded.js";
import { FakeClock } from "../../support/fake-clock.js";

const NOW = Date.UTC(2026, 0, 15, 12);
const SEVEN_DAYS_MS = 7 * 24 * 60 * 60 * 1000;
const FIVE_MINUTES_MS = 5 * 60 * 1000;
const DAY_MS = 24 * 60 * 60 * 1000;
const ADDRESS = encodeInet("192.0.2.7");

function makeAdmission(properties?: readonly string[], onAheadOfClock?: () => void): Admission {
  const clock = new FakeClock(NOW);
  return new Admission({
    clock,
    ids: new EventIds({ now: clock.now }),
    properties: properties && new Set(properties),
    ...(onAheadOfClock && { onAheadOfClock }),
  });
}

const legal: EventInput = { property: "news", section: 3, item: 42, eventId: "" };

/** The violations that an event is refused with; none when it is admitted. */
function violations(
  input: Partial<EventInput>,
  { properties, alsoWrong }: { properties?: readonly string[]; alsoWrong?: FieldViolation } = {},
): readonly FieldViolation[] {
  try {
    makeAdmission(properties).admit({ ...legal, ...input }, ADDRESS, alsoWrong);
    return [];
  } catch (error) {
    if (error instanceof InvalidEventError) {
      return error.violations;
    }
    throw error;
  }
}

/** The names of the fields at fault. */
function faults(...args: Parameters<typeof violations>): string[] {
  return violations(...args).map(({ field }) => field);
}

describe("Admission", () => {
  it("admits an event as it was sent, with the caller's address", () => {
    const event = makeAdmission().admit(legal, ADDRESS);
    expect(event).toMatchObject({ property: "news", section: 3, itemId: 42, inet: ADDRESS });
  });

  it("makes an id, with the time it is, when the caller sends none", () => {
    const admission = makeAdmission();
    const first = formatUuid(admission.admit(legal, ADDRESS).id);
    const second = formatUuid(admission.admit(legal, ADDRESS).id);
    expect(first < second).toBe(true);
    expect(uuidv7TimeMs(admission.admit(legal, ADDRESS).id)).toBe(NOW);
  });

  it("takes the caller's id, in either case", () => {
    const eventId = uuidv7At(NOW - 1000, 0xabcdef);
    for (const spelled of [eventId, eventId.toUpperCase()]) {
      expect(formatUuid(makeAdmission().admit({ ...legal, eventId: spelled }, ADDRESS).id)).toBe(eventId);
    }
  });

  it.each(["a", "n0", "a_b.c-d", `a${"9".repeat(31)}`])("admits the property %j", (property) => {
    expect(faults({ property })).toEqual([]);
  });

  it.each([
    ["", "is required"],
    ["a".repeat(33), "must have at most 32 characters"],
    ["A".repeat(32), "must match ^[a-z][a-z0-9_.-]{0,31}$"],
    ["News", "must match ^[a-z][a-z0-9_.-]{0,31}$"],
    ["9news", "must match ^[a-z][a-z0-9_.-]{0,31}$"],
    ["_news", "must match ^[a-z][a-z0-9_.-]{0,31}$"],
    ["a b", "must match ^[a-z][a-z0-9_.-]{0,31}$"],
    ["news\n", "must match ^[a-z][a-z0-9_.-]{0,31}$"],
    ["né", "must match ^[a-z][a-z0-9_.-]{0,31}$"],
    ["a\0", "must match ^[a-z][a-z0-9_.-]{0,31}$"],
    ["a\ud800", "must match ^[a-z][a-z0-9_.-]{0,31}$"],
  ])("refuses the property %j: it %s", (property, description) => {
    expect(violations({ property })).toEqual([{ field: "property", description }]);
  });

  it("admits only the properties of the list, when there is one", () => {
    const properties = ["news", "shop"];
    expect(faults({ property: "shop" }, { properties })).toEqual([]);
    expect(violations({ property: "blog" }, { properties })).toEqual([
      { field: "property", description: "is not one of the properties that this service accepts" },
    ]);
  });

  it("refuses 0 for section and id, and admits the whole uint32 beyond", () => {
    expect(faults({ section: 0 })).toEqual(["section"]);
    expect(faults({ item: 0 })).toEqual(["item"]);
    expect(faults({ section: 1, item: 2 ** 32 - 1 })).toEqual([]);
    expect(faults({ section: 2 ** 32 - 1, item: 1 })).toEqual([]);
  });

  it.each([
    ["seven days old", NOW - SEVEN_DAYS_MS, []],
    ["a millisecond older than that", NOW - SEVEN_DAYS_MS - 1, ["event_id"]],
    ["five minutes ahead", NOW + FIVE_MINUTES_MS, []],
    ["more than a day ahead", NOW + DAY_MS + 1, ["event_id"]],
  ])("judges an event_id by its time: %s", (_, timeMs, expected) => {
    expect(faults({ eventId: uuidv7At(timeMs) })).toEqual(expected);
  });

  it.each([
    ["a millisecond more than five minutes", FIVE_MINUTES_MS + 1, 1_000],
    ["half a minute more", FIVE_MINUTES_MS + 30_000, 30_000],
    ["a day", DAY_MS, 60_000],
  ])("refuses for now what lies ahead by %s, with the time to come back", (_, aheadMs, retryAfterMs) => {
    const input = { ...legal, eventId: uuidv7At(NOW + aheadMs) };
    let doubts = 0;
    const admission = makeAdmission(undefined, () => {
      doubts += 1;
    });
    expect(() => admission.admit(input, ADDRESS)).toThrow(AheadOfClockError);
    expect(admission.tryAdmit(input, ADDRESS)).toBeUndefined();
    expect(admission.refusal(input)).toMatchObject({ reason: "ahead_of_clock", retryAfterMs });
    expect(doubts).toBe(2);
  });

  it("refuses for good what lies ahead and breaks another rule", () => {
    expect(faults({ eventId: uuidv7At(NOW + FIVE_MINUTES_MS + 1), section: 0 })).toEqual(["section"]);
  });

  it.each([
    "nonsense",
    " ",
    "9b2b6f9e-7e4a-4c7b-8d55-6a1a3b1e2f00",
    uuidv7At(NOW).replaceAll("-", ""),
    `{${uuidv7At(NOW)}}`,
  ])("refuses the event_id %j: it is no UUIDv7", (eventId) => {
    expect(violations({ eventId })).toEqual([
      { field: "event_id", description: "must be a UUIDv7 in its 36-character form, or empty" },
    ]);
  });

  it("names every field at fault at once, with what else the caller knows to be wrong", () => {
    const alsoWrong = { field: "ack", description: "is not known" };
    const all = { property: "", section: 0, item: 0, eventId: "x" };
    expect(faults(all, { alsoWrong })).toEqual(["property", "section", "item", "event_id", "ack"]);
    expect(violations({}, { alsoWrong })).toEqual([alsoWrong]);
  });

  it("judges without an error, and says what is wrong when it is asked", () => {
    const admission = makeAdmission();
    expect(admission.tryAdmit(legal, ADDRESS)).toMatchObject({ property: "news", inet: ADDRESS });
    expect(admission.tryAdmit({ ...legal, section: 0 }, ADDRESS)).toBeUndefined();
    expect(admission.violations({ ...legal, section: 0 }).map(({ field }) => field)).toEqual(["section"]);
    expect(admission.violations(legal)).toEqual([]);
  });

  it("says all of it in the message", () => {
    expect(() => makeAdmission().admit({ ...legal, section: 0, item: 0 }, ADDRESS)).toThrow(
      "section: must be from 1 to 4294967295; item: must be from 1 to 4294967295",
    );
  });

  it("never refuses an event without a reason, nor admits one for which there is a reason", () => {
    const property = fc.oneof(anyProperty, fc.string({ maxLength: 40 }), fc.constantFrom("news", "shop", ""));
    const number = fc.oneof(anyPositiveUint32, fc.constant(0));
    const near = (ms: number) => fc.integer({ min: ms - 2, max: ms + 2 });
    const eventId = fc.oneof(
      fc.constant(""),
      fc.string({ maxLength: 40 }),
      anyUuidv7(
        fc.oneof(near(NOW - SEVEN_DAYS_MS), near(NOW + DAY_MS), near(NOW + FIVE_MINUTES_MS), near(NOW)),
      ),
      fc.uuid(),
    );
    const allowed = fc.constantFrom<string[] | undefined>(undefined, ["news", "shop"]);
    fc.assert(
      fc.property(
        property,
        number,
        number,
        eventId,
        allowed,
        (property, section, item, eventId, properties) => {
          const input = { property, section, item, eventId };
          // An event that is wrong elsewhere gets the full list of reasons, so it tells what they are.
          const elsewhere = { field: "elsewhere", description: "" };
          const options = properties === undefined ? {} : { properties };
          const reasons = faults(input, { ...options, alsoWrong: elsewhere }).slice(0, -1);
          const timeMs = Number.parseInt(eventId.slice(0, 8) + eventId.slice(9, 13), 16);
          const isTimely = timeMs >= NOW - SEVEN_DAYS_MS && timeMs <= NOW + DAY_MS;
          if (reasons.length === 0 && timeMs > NOW + FIVE_MINUTES_MS) {
            expect(() => faults(input, options)).toThrow(AheadOfClockError);
          } else {
            expect(faults(input, options)).toEqual(reasons);
          }
          expect(reasons).toEqual([
            ...(/^[a-z][a-z0-9_.-]{0,31}$/.test(property) && (properties?.includes(property) ?? true)
              ? []
              : ["property"]),
            ...(section >= 1 ? [] : ["section"]),
            ...(item >= 1 ? [] : ["item"]),
            ...(eventId === "" ||
            (/^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/i.test(eventId) &&
              isTimely)
              ? []
              : ["event_id"]),
          ]);
        },
      ),
      { numRuns: 2_000 },
    );
  });
});

describe("what is kept of the caller's address", () => {
  function kept(remoteIp: RemoteIpPolicy | undefined, ...addresses: string[]): string[] {
    const clock = new FakeClock(NOW);
    const ids = new EventIds({ now: clock.now });
    const admission = new Admission({ clock, ids, properties: undefined, ...(remoteIp && { remoteIp }) });
    return addresses.map((address) => {
      const { inet } = admission.admit(legal, address === "" ? new Uint8Array(0) : encodeInet(address));
      return inet.length === 0 ? "" : decodeInet(inet);
    });
  }
  const addresses = ["192.0.2.7", "192.0.2.7", "", "198.51.100.9", "2001:db8:1:2::3"];

  it("is all of it by default, and with store", () => {
    expect(kept(undefined, ...addresses)).toEqual(addresses);
    expect(kept("store", ...addresses)).toEqual(addresses);
  });

  it("is its network with truncate", () => {
    const networks = ["192.0.2.0/24", "192.0.2.0/24", "", "198.51.100.0/24", "2001:db8:1::/48"];
    expect(kept("truncate", ...addresses)).toEqual(networks);
  });

  it("is nothing with drop", () => {
    expect(kept("drop", ...addresses)).toEqual(addresses.map(() => ""));
  });
});
