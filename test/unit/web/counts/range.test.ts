import { coarser, granularityOf, type Span, spanOf, timesOf } from "../../../../web/counts/range.js";
import { parseView } from "../../../../web/counts/view.js";

/** A Saturday; in Berlin 15:07. */
const NOW = Date.UTC(2026, 10, 28, 14, 7);

function span(query: string, now = NOW): Record<string, unknown> {
  const { start, end, granularity, zone } = spanOf(parseView(query), now);
  return { start: new Date(start).toISOString(), end: new Date(end).toISOString(), granularity, zone };
}

test.each([
  ["today", "2026-11-27T23:00:00.000Z", "2026-11-28T23:00:00.000Z", "auto"],
  ["24h", "2026-11-27T14:15:00.000Z", "2026-11-28T14:15:00.000Z", "auto"],
  ["7d", "2026-11-21T23:00:00.000Z", "2026-11-28T23:00:00.000Z", "auto"],
  ["30d", "2026-10-29T23:00:00.000Z", "2026-11-28T23:00:00.000Z", "auto"],
  ["90d", "2026-08-30T22:00:00.000Z", "2026-11-28T23:00:00.000Z", "auto"],
  ["12m", "2025-11-30T23:00:00.000Z", "2026-11-30T23:00:00.000Z", "month"],
])("%s is so much of the calendar of the zone, to its end", (range, start, end, granularity) => {
  expect(span(`?range=${range}&zone=Europe/Berlin`)).toEqual({
    start,
    end,
    granularity,
    zone: "Europe/Berlin",
  });
});

test.each([
  ["hour", "2026-11-24T09:30:00.000Z", "2026-11-25T11:30:00.000Z"],
  ["day", "2026-11-23T18:30:00.000Z", "2026-11-25T18:30:00.000Z"],
  ["week", "2026-11-22T18:30:00.000Z", "2026-11-29T18:30:00.000Z"],
  ["month", "2026-10-31T18:30:00.000Z", "2026-11-30T18:30:00.000Z"],
  ["auto", "2026-11-24T10:00:00.000Z", "2026-11-25T11:15:00.000Z"],
])("a range by %s is of whole buckets", (by, start, end) => {
  const query = `?from=2026-11-24T10:05Z&to=2026-11-25T11:05Z&by=${by}&zone=Asia/Kolkata`;
  expect(span(query)).toMatchObject({ start, end });
});

test("a range over a change of the clock has all its hours", () => {
  const query = "?from=2026-03-28T23:00Z&to=2026-03-29T22:00Z&by=day&zone=Europe/Berlin";
  expect(span(query)).toMatchObject({ start: "2026-03-28T23:00:00.000Z", end: "2026-03-29T22:00:00.000Z" });
});

test("a request leaves out a granularity that the service chooses", () => {
  const request = spanOf(parseView("?range=today&zone=UTC"), NOW);
  expect({ ...timesOf(request), ...granularityOf(request) }).toEqual({
    startTime: "2026-11-28T00:00:00.000Z",
    endTime: "2026-11-29T00:00:00.000Z",
    timeZone: "UTC",
  });
  expect(granularityOf({ ...request, granularity: "quarter_hour" })).toEqual({
    granularity: "GRANULARITY_QUARTER_HOUR",
  });
});

describe("for a range that does not fit", () => {
  const first: Span = {
    start: Date.UTC(2024, 0, 9, 18, 30),
    end: Date.UTC(2024, 0, 12, 18, 30),
    granularity: "hour",
    zone: "Asia/Kolkata",
  };

  test("what the service names is tried, in whole buckets", () => {
    expect(coarser(first, { granularity: "GRANULARITY_DAY", timeZone: "UTC" })).toEqual([
      { start: Date.UTC(2024, 0, 9), end: Date.UTC(2024, 0, 13), granularity: "day", zone: "UTC" },
    ]);
  });

  test("else days of the zone, then UTC", () => {
    expect(coarser(first, {}).map(({ granularity, zone }) => [granularity, zone])).toEqual([
      ["day", "Asia/Kolkata"],
      ["hour", "UTC"],
      ["day", "UTC"],
    ]);
  });

  test("nothing is left to try for days of UTC", () => {
    expect(coarser({ ...first, granularity: "day", zone: "UTC" }, {})).toEqual([]);
  });
});
