import fc from "fast-check";
import {
  BUCKET_UNITS,
  type BucketUnit,
  bucketEdges,
  bucketStart,
  lengthOf,
  nextBucketStart,
  pairBuckets,
  rangeBefore,
} from "../../../src/counts/calendar.js";
import { DAY_MS, HOUR_MS, QUARTER_HOUR_MS } from "../../../src/counts/time-units.js";
import { findTimeZone, type TimeZone } from "../../../src/counts/time-zone.js";

const ZONES = Intl.supportedValuesOf("timeZone");
/** Zones whose clocks do what few do. */
const ODD_ZONES = [
  "Australia/Lord_Howe", // changes by half an hour
  "Asia/Kathmandu", // +05:45
  "Pacific/Chatham", // +12:45, +13:45
  "America/St_Johns", // -03:30
  "America/Sao_Paulo", // skipped midnight
  "America/Havana", // shows midnight twice
  "Africa/Casablanca", // changes around Ramadan
  "Africa/Cairo",
  "Pacific/Apia", // skipped 30 December 2011
  "Europe/Dublin",
  "Antarctica/Troll", // changes by two hours
];
const anyZone = fc.oneof(fc.constantFrom(...ODD_ZONES), fc.constantFrom(...ZONES)).map(zoneOf);
/** Since 2012 all clocks are changed at a full quarter of an hour. */
const anyInstant = fc.integer({ min: Date.UTC(2012, 0, 1), max: Date.UTC(2037, 11, 31) });
const anyUnit = fc.constantFrom(...BUCKET_UNITS);

function zoneOf(name: string): TimeZone {
  const zone = findTimeZone(name);
  if (zone === undefined) {
    throw new Error(`no zone ${name}`);
  }
  return zone;
}

function at(time: string): number {
  return Date.parse(time);
}

/**
 * The oracle: Intl's own words for what the clock shows, for each quarter of an hour by itself. It knows no offsets and no
 * arithmetic of dates; a bucket goes on as long as these words have the same beginning, and the offset is the same.
 */
function labelOf(zone: TimeZone, unit: BucketUnit, instant: number): string {
  const format = oracleFormat(zone.name);
  const parts = Object.fromEntries(format.formatToParts(instant).map(({ type, value }) => [type, value]));
  const date = `${parts.year}-${parts.month}-${parts.day}`;
  switch (unit) {
    case "quarterHour":
      return String(Math.floor(instant / QUARTER_HOUR_MS));
    case "hour":
      return `${date} ${parts.hour} ${parts.timeZoneName}`;
    case "day":
      return date;
    case "week": {
      // ISO 8601: the year that has most of the week, and the week's number.
      const day = new Date(`${date}T12:00:00Z`);
      day.setUTCDate(day.getUTCDate() + 4 - (day.getUTCDay() || 7));
      return `${day.getUTCFullYear()} W${Math.ceil(((+day - Date.UTC(day.getUTCFullYear(), 0, 1)) / DAY_MS + 1) / 7)}`;
    }
    case "month":
      return `${parts.year}-${parts.month}`;
  }
}

const formats = new Map<string, Intl.DateTimeFormat>();

function oracleFormat(timeZone: string): Intl.DateTimeFormat {
  const format =
    formats.get(timeZone) ??
    new Intl.DateTimeFormat("sv-SE", {
      timeZone,
      year: "numeric",
      month: "2-digit",
      day: "2-digit",
      hour: "2-digit",
      hourCycle: "h23",
      timeZoneName: "longOffset",
    });
  formats.set(timeZone, format);
  return format;
}

describe("a bucket", () => {
  it("is as long as the clock on the wall shows the same hour, day, week or month, in every zone", () => {
    fc.assert(
      fc.property(anyZone, anyUnit, anyInstant, (zone, unit, instant) => {
        const start = bucketStart(zone, unit, instant);
        const end = nextBucketStart(zone, unit, start);
        expect(start).toBeLessThanOrEqual(instant);
        expect(end).toBeGreaterThan(instant);
        const label = labelOf(zone, unit, start);
        expect(labelOf(zone, unit, instant)).toBe(label);
        expect(labelOf(zone, unit, end - 1)).toBe(label);
        expect(labelOf(zone, unit, start - 1)).not.toBe(label);
        expect(labelOf(zone, unit, end)).not.toBe(label);
      }),
      { numRuns: 3_000 },
    );
  });

  it("begins where it is found to begin from any moment in it, and ends where the next begins", () => {
    fc.assert(
      fc.property(anyZone, anyUnit, anyInstant, fc.nat(), (zone, unit, instant, offset) => {
        const start = bucketStart(zone, unit, instant);
        const end = nextBucketStart(zone, unit, start);
        const inside = start + (offset % (end - start));
        expect(bucketStart(zone, unit, inside)).toBe(start);
        expect(nextBucketStart(zone, unit, inside)).toBe(end);
        expect(bucketStart(zone, unit, end)).toBe(end);
      }),
      { numRuns: 3_000 },
    );
  });

  it("begins and ends at a quarter of an hour of UTC", () => {
    fc.assert(
      fc.property(anyZone, anyUnit, anyInstant, (zone, unit, instant) => {
        expect(bucketStart(zone, unit, instant) % QUARTER_HOUR_MS).toBe(0);
      }),
      { numRuns: 2_000 },
    );
  });

  it.each([
    ["Europe/Berlin", "2026-03-29T12:00:00Z", 23],
    ["Europe/Berlin", "2026-10-25T12:00:00Z", 25],
    ["Australia/Lord_Howe", "2026-04-05T00:00:00Z", 24.5],
    ["Australia/Lord_Howe", "2026-10-04T00:00:00Z", 23.5],
    ["America/Sao_Paulo", "2018-11-04T12:00:00Z", 23],
    ["UTC", "2026-03-29T12:00:00Z", 24],
  ])("of a day in %s at %s has %d hours", (name, time, hours) => {
    const zone = zoneOf(name);
    const start = bucketStart(zone, "day", at(time));
    expect((nextBucketStart(zone, "day", start) - start) / HOUR_MS).toBe(hours);
  });
});

describe("the buckets of a range", () => {
  it("hold it, without a gap, and no more than it needs", () => {
    fc.assert(
      fc.property(
        anyZone,
        anyUnit,
        anyInstant,
        fc.integer({ min: 1, max: 400 * DAY_MS }),
        (zone, unit, start, length) => {
          const range = { start, end: start + length };
          const edges = bucketEdges(zone, unit, range, 40_000) ?? [];
          expect(edges[0]).toBe(bucketStart(zone, unit, start));
          expect(edges.at(-1)).toBeGreaterThanOrEqual(range.end);
          expect(edges.at(-2)).toBeLessThan(range.end);
          expect(edges.every((edge, n) => n === 0 || edge > (edges[n - 1] ?? edge))).toBe(true);
        },
      ),
      { numRuns: 200 },
    );
  });

  it("are undefined when there are more than wanted, and counted when there are just as many", () => {
    const zone = zoneOf("UTC");
    const range = { start: 0, end: 10 * HOUR_MS };
    expect(bucketEdges(zone, "hour", range, 10)).toHaveLength(11);
    expect(bucketEdges(zone, "hour", range, 9)).toBeUndefined();
  });
});

describe("a zone", () => {
  it("has the offset that Intl shows, at any time since 1970", () => {
    const sinceThen = fc.integer({ min: 0, max: Date.UTC(2099, 11, 31) });
    fc.assert(
      fc.property(anyZone, sinceThen, (zone, instant) => {
        const shown = new Date(instant).toLocaleString("sv-SE", { timeZone: zone.name });
        const wall = new Date(Math.floor(zone.wallAt(instant) / 1000) * 1000).toISOString();
        expect(wall.slice(0, 19).replace("T", " ")).toBe(shown);
      }),
      { numRuns: 5_000 },
    );
  });

  it.each(["", "Mars/Olympus", "+01:00", "Europe/Berlin; DROP", "../etc/passwd", "x".repeat(10_000)])(
    "of the name %p is none",
    (name) => {
      expect(findTimeZone(name)).toBeUndefined();
    },
  );

  it("is found by its name in any case, and by the names of old", () => {
    expect(findTimeZone("europe/berlin")?.offsetAt(at("2026-07-01T00:00Z"))).toBe(2 * HOUR_MS);
    expect(findTimeZone("Asia/Calcutta")?.offsetAt(0)).toBe(5.5 * HOUR_MS);
  });
});

/** The period before a range, as people write it: its edges, and for each bucket of the range that of its pair, or "none". */
function periodBefore(name: string, unit: BucketUnit, from: string, to: string, now = "2099-01-01T00:00Z") {
  const zone = zoneOf(name);
  const range = { start: at(from), end: at(to) };
  const edges = bucketEdges(zone, unit, range, 5_000) ?? [];
  const starts = edges.slice(0, -1).filter((start) => start < at(now));
  const shift = lengthOf(zone, unit, range);
  const rounded = { start: edges[0] ?? 0, end: edges.at(-1) ?? 0 };
  const previous = rangeBefore(zone, unit, rounded, shift, at(now));
  const earlier = (bucketEdges(zone, unit, previous, 5_000) ?? []).slice(0, -1);
  const show = (instant: number) =>
    new Date(zone.wallAt(instant)).toISOString().slice(0, 16).replace("T", " ");
  return {
    range: [show(previous.start), show(previous.end)],
    pairs: pairBuckets(zone, unit, starts, earlier, shift).map((index) =>
      index === undefined ? "none" : show(earlier[index] ?? 0),
    ),
    unpaired: earlier.length - new Set(pairBuckets(zone, unit, starts, earlier, shift)).size,
  };
}

describe("the period before", () => {
  it("is the day before for a day, hour by hour", () => {
    const { range, pairs } = periodBefore("Europe/Berlin", "hour", "2026-06-09T22:00Z", "2026-06-10T22:00Z");
    expect(range).toEqual(["2026-06-09 00:00", "2026-06-10 00:00"]);
    expect(pairs).toHaveLength(24);
    expect([pairs[0], pairs[23]]).toEqual(["2026-06-09 00:00", "2026-06-09 23:00"]);
  });

  it("has no pair for the hour that only the day of 25 hours has", () => {
    const { pairs } = periodBefore("Europe/Berlin", "hour", "2026-10-24T22:00Z", "2026-10-25T23:00Z");
    expect(pairs).toHaveLength(25);
    expect(pairs.slice(1, 5)).toEqual(["2026-10-24 01:00", "2026-10-24 02:00", "none", "2026-10-24 03:00"]);
  });

  it("has one hour that stands for none on the day after 25 hours, and a gap on that of 23", () => {
    const after = periodBefore("Europe/Berlin", "hour", "2026-10-25T23:00Z", "2026-10-26T23:00Z");
    expect(after.pairs).not.toContain("none");
    expect(after.pairs).toHaveLength(24);
    const spring = periodBefore("Europe/Berlin", "hour", "2026-03-29T22:00Z", "2026-03-30T22:00Z");
    expect(spring.pairs.filter((pair) => pair === "none")).toHaveLength(1);
    expect(spring.pairs[2]).toBe("none");
  });

  it("of a whole month is the month before, day by day, however long both are", () => {
    const march = periodBefore("Europe/Berlin", "day", "2026-02-28T23:00Z", "2026-03-31T22:00Z");
    expect(march.range).toEqual(["2026-02-01 00:00", "2026-03-01 00:00"]);
    expect(march.pairs.slice(27)).toEqual(["2026-02-28 00:00", "none", "none", "none"]);
    const february = periodBefore("UTC", "day", "2026-02-01T00:00Z", "2026-03-01T00:00Z");
    expect(february.range).toEqual(["2026-01-01 00:00", "2026-02-01 00:00"]);
    expect(february.pairs.at(-1)).toBe("2026-01-28 00:00");
  });

  it("of twelve months by the month is the year before", () => {
    const { range, pairs } = periodBefore("UTC", "month", "2025-12-01T00:00Z", "2026-12-01T00:00Z");
    expect(range).toEqual(["2024-12-01 00:00", "2025-12-01 00:00"]);
    expect(pairs[0]).toBe("2024-12-01 00:00");
  });

  it("is cut at the same time on the wall where the range is not over", () => {
    const now = "2026-03-29T10:20Z";
    const { range, pairs } = periodBefore(
      "Europe/Berlin",
      "day",
      "2026-03-22T23:00Z",
      "2026-03-29T22:00Z",
      now,
    );
    expect(range).toEqual(["2026-03-16 00:00", "2026-03-22 12:20"]);
    expect(pairs).toHaveLength(7);
    expect(pairs.at(-1)).toBe("2026-03-22 00:00");
  });

  it("ends with its month where the same day of the month does not exist in it", () => {
    const { range } = periodBefore(
      "UTC",
      "day",
      "2026-03-01T00:00Z",
      "2026-04-01T00:00Z",
      "2026-03-30T12:00Z",
    );
    expect(range).toEqual(["2026-02-01 00:00", "2026-03-01 00:00"]);
  });

  it("of the last 24 hours stands at the same hours, though their buckets reach further, across a change of the clock too", () => {
    const plain = periodBefore("UTC", "hour", "2026-06-09T14:20Z", "2026-06-10T14:20Z", "2026-06-10T14:20Z");
    expect([plain.pairs[0], plain.pairs.at(-1)]).toEqual(["2026-06-08 14:00", "2026-06-09 14:00"]);
    const now = "2026-10-25T13:20Z";
    const autumn = periodBefore("Europe/Berlin", "hour", "2026-10-24T13:20Z", now, now);
    expect(autumn.pairs[0]).toBe("2026-10-23 15:00");
    expect(autumn.range[1]).toBe("2026-10-24 14:20");
  });

  it("of weeks begins on a Monday", () => {
    const { range } = periodBefore("America/New_York", "week", "2026-06-10T14:20Z", "2026-06-24T14:20Z");
    expect(range[0]).toBe("2026-05-25 00:00");
  });

  it("pairs each bucket with one whose clock shows the same, as long before as the first", () => {
    const anyFine = fc.constantFrom<BucketUnit>("quarterHour", "hour", "day", "week");
    fc.assert(
      fc.property(anyZone, anyFine, anyInstant, fc.integer({ min: 1, max: 9 }), (zone, unit, start, days) => {
        const range = { start, end: start + days * DAY_MS };
        const shift = lengthOf(zone, unit, range);
        const edges = bucketEdges(zone, unit, range, 5_000) ?? [];
        const rounded = { start: edges[0] ?? 0, end: edges.at(-1) ?? 0 };
        const previous = rangeBefore(zone, unit, rounded, shift, Number.POSITIVE_INFINITY);
        const starts = edges.slice(0, -1);
        const earlier = (bucketEdges(zone, unit, previous, 5_000) ?? []).slice(0, -1);
        const pairs = pairBuckets(zone, unit, starts, earlier, shift);
        const shown = (instant: number) =>
          oracleFormat(zone.name)
            .format(instant)
            .replace(/ GMT.*/, "");
        for (const [n, index] of pairs.entries()) {
          if (index !== undefined && unit === "hour") {
            const [now, then] = [shown(starts[n] ?? 0), shown(earlier[index] ?? 0)];
            expect(then.slice(11)).toBe(now.slice(11));
          }
        }
        // Two changes of the clock, and the date line, are the most that stands without a pair.
        const perDay = { quarterHour: 96, hour: 24, day: 1, week: 1 }[unit as "hour"];
        expect(pairs.filter((index) => index === undefined).length).toBeLessThanOrEqual(perDay + 1);
        expect(new Set(pairs.filter((index) => index !== undefined)).size).toBe(
          pairs.filter((index) => index !== undefined).length,
        );
      }),
      { numRuns: 500 },
    );
  });
});
