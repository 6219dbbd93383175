import type { Bucket } from "../../../../web/counts/api.js";
import { ticksOf } from "../../../../web/counts/ticks.js";
import {
  bucketName,
  bucketNotes,
  change,
  compact,
  entryName,
  freshness,
  rangeName,
  share,
} from "../../../../web/counts/words.js";
import { startOfDay, startOfMonth } from "../../../../web/counts/zone.js";

const ZONE = "Europe/Berlin";
const NOW = Date.UTC(2026, 10, 28, 14, 7);
const QUARTER_MS = 900_000;

function bucket(start: number, end: number, fields: Partial<Bucket> = {}): Bucket {
  return { start, end, count: 5, partial: false, incomplete: false, ...fields };
}

/** Buckets from the begin of a day of Berlin, each as long as `next` says. */
function buckets(count: number, start: number, next: (at: number) => number): Bucket[] {
  const made: Bucket[] = [];
  for (let at = start; made.length < count; at = next(at)) {
    made.push(bucket(at, next(at)));
  }
  return made;
}

test.each([
  [120, 100, "▲ 20 %"],
  [97, 100, "▼ 3.0 %"],
  [100, 100, "±0 %"],
  [5, 0, "new"],
  [0, 0, "–"],
  [0, 4, "▼ 100 %"],
  [999, 100, "▲ 899 %"],
  [1_000, 100, "▲ 10-fold"],
  [1_234_567, 1, "▲ 1,234,567-fold"],
  [5, null, ""],
])("%d after %p is a change of %p", (count, previous, words) => {
  expect(change(count, previous)).toBe(words);
});

test("shares and large numbers are short", () => {
  expect([share(1, 3), share(1, 30), share(1, 3_000), share(0, 3), share(0, 0)]).toEqual([
    "33 %",
    "3.3 %",
    "< 0.1 %",
    "0.0 %",
    "",
  ]);
  expect([compact(9_999), compact(12_345), compact(2_500_000)]).toEqual(["9,999", "12.3K", "2.5M"]);
});

test("a bucket is named by its part of the calendar", () => {
  const start = Date.UTC(2026, 9, 25, 22);
  expect(bucketName(bucket(start, start + QUARTER_MS), "quarter_hour", ZONE)).toBe(
    "Sun 25 Oct 2026, 23:00–23:15",
  );
  expect(bucketName(bucket(start + 3_600_000, start), "day", ZONE)).toBe("Mon 26 Oct 2026");
  expect(bucketName(bucket(start + 3_600_000, startOfDay(start, ZONE, 8)), "week", ZONE)).toBe(
    "26 Oct 2026 – 1 Nov 2026",
  );
  expect(bucketName(bucket(startOfMonth(start, ZONE), start), "month", ZONE)).toBe("Oct 2026");
});

test("an hour in which the clock changes says so", () => {
  const hour = (start: number) => bucketName(bucket(start, start + 3_600_000), "hour", ZONE);
  expect(hour(Date.UTC(2026, 2, 29, 0))).toBe("Sun 29 Mar 2026, 01:00–03:00 (the clock changes)");
  expect(hour(Date.UTC(2026, 9, 25, 0))).toBe("Sun 25 Oct 2026, 02:00–02:00 (the clock changes)");
  expect(hour(Date.UTC(2026, 9, 25, 1))).toBe("Sun 25 Oct 2026, 02:00–03:00");
});

test.each([
  ["2026-11-22T23:00Z", "2026-11-23T23:00Z", "Mon 23 Nov 2026"],
  ["2026-11-22T23:00Z", "2026-11-24T23:00Z", "Mon 23 Nov 2026 – Tue 24 Nov 2026"],
  ["2026-11-23T10:15Z", "2026-11-23T11:00Z", "Mon 23 Nov 2026, 11:15–12:00"],
  ["2026-11-23T10:15Z", "2026-11-24T11:00Z", "Mon 23 Nov 2026, 11:15 – Tue 24 Nov 2026, 12:00"],
  ["2026-11-22T23:00Z", "2026-11-28T14:15Z", "Mon 23 Nov 2026 – now"],
])("from %s to %s is %p", (start, end, words) => {
  expect(rangeName({ start: Date.parse(start), end: Date.parse(end) }, ZONE, NOW)).toBe(words);
});

test("a count that is not final says why", () => {
  expect(bucketNotes(bucket(NOW, NOW + 1, { partial: true }), NOW)).toBe("so far");
  expect(bucketNotes(bucket(NOW - 2, NOW - 1, { partial: true }), NOW)).toBe("a part of it");
  expect(bucketNotes(bucket(0, 1, { incomplete: true }), NOW)).toContain("at least");
  expect(bucketNotes(bucket(0, 1), NOW)).toBe("");
});

test("an answer says how fresh it is, and when it is behind", () => {
  const coverage = { start: 0, end: NOW, settledAt: null, incomplete: false };
  expect(freshness({ ...coverage, freshAt: NOW - 3_000 }, NOW, ZONE)).toEqual({
    text: "Counted up to 15:06:57",
    isLate: false,
  });
  expect(freshness({ ...coverage, freshAt: NOW - 720_000 }, NOW, ZONE)).toEqual({
    text: "Counting is 12 min behind: up to 14:55:00",
    isLate: true,
  });
  expect(freshness({ ...coverage, freshAt: NOW - 3 * 86_400_000 }, NOW, ZONE).text).toBe(
    "Counting is 3 days behind: up to 25 Nov 2026, 15:07:00",
  );
  expect(freshness({ ...coverage, freshAt: null }, NOW, ZONE).text).toBe("");
});

test("what has a label is called by it, all else by its number", () => {
  const entry = { property: "news", section: null, item: null, count: 1, previous: null, label: "", url: "" };
  expect(entryName(entry)).toBe("news");
  expect(entryName({ ...entry, section: 3 })).toBe("Section 3");
  expect(entryName({ ...entry, section: 3, item: 42 })).toBe("Item 42");
  expect(entryName({ ...entry, section: 3, label: "Sports" })).toBe("Sports");
});

describe("the time axis", () => {
  const day = startOfDay(NOW, ZONE);
  const labels = (shown: Bucket[], most: number) => ticksOf(shown, ZONE, most).map(({ label }) => label);

  test("of a day has times, and the date where it changes", () => {
    const shown = buckets(96, day, (at) => at + QUARTER_MS);
    expect(labels(shown, 8)).toEqual([
      "00:00\n28 Nov",
      ...["03", "06", "09", "12", "15", "18", "21"].map((h) => `${h}:00`),
    ]);
  });

  test("of a month has days, and the year where it changes", () => {
    const shown = buckets(31, startOfDay(Date.UTC(2025, 11, 20, 12), ZONE), (at) => startOfDay(at, ZONE, 1));
    expect(labels(shown, 6)).toEqual(["22 Dec\n2025", "29 Dec", "5 Jan\n2026", "12 Jan", "19 Jan"]);
  });

  test("of a year by month has months", () => {
    const shown = buckets(12, startOfMonth(day, ZONE, -11), (at) => startOfMonth(at, ZONE, 1));
    expect(labels(shown, 12)).toEqual([
      "Dec\n2025",
      "Jan\n2026",
      "Feb",
      "Mar",
      "Apr",
      "May",
      "Jun",
      "Jul",
      "Aug",
      "Sep",
      "Oct",
      "Nov",
    ]);
    expect(labels(shown, 5)).toEqual(["Jan\n2026", "Apr", "Jul", "Oct"]);
  });

  test("puts a day's label under the middle of its bar, also where the day has 25 hours", () => {
    const start = startOfDay(Date.UTC(2026, 9, 25, 12), ZONE);
    const [tick] = ticksOf([bucket(start, startOfDay(start, ZONE, 1))], ZONE, 5);
    expect(tick).toEqual({ at: start + 12.5 * 3_600_000, label: "25 Oct\n2026" });
  });

  test.each([1, 7, 53, 300, 5_000])("has labels for %d buckets, and not more than fit", (count) => {
    for (const length of [QUARTER_MS, 3_600_000]) {
      const ticks = labels(
        buckets(count, day, (at) => at + length),
        10,
      );
      expect(ticks.length).toBeGreaterThan(0);
      expect(ticks.length).toBeLessThanOrEqual(10);
    }
    const weeks = labels(
      buckets(count, startOfDay(day, ZONE, -5), (at) => startOfDay(at, ZONE, 7)),
      10,
    );
    expect(weeks.length).toBeGreaterThan(0);
    expect(weeks.length).toBeLessThanOrEqual(10);
  });
});
