import type { Coverage, Entry, Series, Top } from "../../../../web/counts/api.js";
import { seriesCsv, topCsv } from "../../../../web/counts/csv.js";
import { linePath } from "../../../../web/counts/sparkline.js";

const COVERAGE: Coverage = { start: 0, end: 0, freshAt: null, settledAt: null, incomplete: false };
const HOUR_MS = 3_600_000;
const SERIES: Series = {
  buckets: [
    { start: 0, end: HOUR_MS, count: 7, partial: false, incomplete: true },
    { start: HOUR_MS, end: 2 * HOUR_MS, count: 0, partial: true, incomplete: false },
  ],
  granularity: "GRANULARITY_HOUR",
  previous: [],
  total: 7,
  previousTotal: null,
  coverage: COVERAGE,
  names: [],
};
const ENTRY: Entry = { property: "news", section: 3, item: 42, label: "", url: "", count: 1, previous: null };
const TOP: Top = { entries: [ENTRY], total: 3, previousTotal: null, size: 1, coverage: COVERAGE };

test("a series is a line for each bucket", () => {
  expect(seriesCsv(SERIES)).toBe(
    "start_time,end_time,count,partial,incomplete\r\n" +
      "1970-01-01T00:00:00Z,1970-01-01T01:00:00Z,7,false,true\r\n" +
      "1970-01-01T01:00:00Z,1970-01-01T02:00:00Z,0,true,false\r\n",
  );
});

test("the period before stands next to the bucket that it is compared to, or nothing", () => {
  const before = { start: -HOUR_MS, end: 0, count: 5, partial: false, incomplete: false };
  const lines = seriesCsv({ ...SERIES, previous: [before, null], previousTotal: 5 }).split("\r\n");
  expect(lines[0]).toMatch(/,previous_start_time,previous_count$/);
  expect(lines[1]).toMatch(/,1969-12-31T23:00:00Z,5$/);
  expect(lines[2]).toMatch(/,false,,$/);
});

test("a list is a line for each entry, with its share", () => {
  expect(topCsv({ ...TOP, previousTotal: 2, entries: [{ ...ENTRY, previous: 2 }] })).toBe(
    "property,section,item,label,url,count,share,previous_count\r\nnews,3,42,,,1,0.333333,2\r\n",
  );
  expect(topCsv({ ...TOP, entries: [{ ...ENTRY, section: null, item: null }] })).toContain("\r\nnews,,,,,1,");
});

test.each([
  ['Say "no", she said', '"Say ""no"", she said"'],
  ["two\nlines", '"two\nlines"'],
  ["=HYPERLINK(1)", "'=HYPERLINK(1)"],
  ["@SUM(1,2)", `"'@SUM(1,2)"`],
])("the label %p is the cell %p", (label, cell) => {
  expect(topCsv({ ...TOP, entries: [{ ...ENTRY, label }] })).toContain(`,42,${cell},,1,`);
});

test("a sparkline has a step for each count, with the highest at the top", () => {
  expect(linePath([0, 10])).toBe("M0 27.0H60.0V2.0H120.0");
  expect(linePath([0, 0])).toBe("M0 27.0H60.0V27.0H120.0");
  expect(linePath([])).toBe("");
});
