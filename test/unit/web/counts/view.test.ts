import fc from "fast-check";
import { formatView, parseView, type View, within } from "../../../../web/counts/view.js";

const ZONE = "Asia/Kolkata";
const id = fc.integer({ min: 1, max: 4_294_967_295 });

/** Every view that the page can show. */
const views: fc.Arbitrary<View> = fc
  .record({
    property: fc.option(fc.stringMatching(/^[\w.:/&=%#-]{1,20}$/)),
    section: fc.option(id),
    item: fc.option(id),
    range: fc.constantFrom("today", "24h", "7d", "30d", "90d", "12m", "custom"),
    from: fc.integer({ min: 0, max: 30_000_000 }).map((minute) => minute * 60_000),
    length: fc.integer({ min: 1, max: 1_000_000 }).map((minutes) => minutes * 60_000),
    by: fc.constantFrom("auto", "quarter_hour", "hour", "day", "week", "month"),
    compare: fc.boolean(),
    zone: fc.constantFrom("UTC", ZONE, "America/Argentina/Buenos_Aires"),
    list: fc.constantFrom("sections", "items"),
    rows: fc.constantFrom(20, 100, 1_000),
  })
  .map(({ from, length, ...view }) => {
    const section = view.property === null ? null : view.section;
    const isCustom = view.range === "custom";
    return {
      ...view,
      section,
      item: section === null ? null : view.item,
      from: isCustom ? from : null,
      to: isCustom ? from + length : null,
    } as View;
  });

test("the URL holds the whole view", () => {
  fc.assert(fc.property(views, (view) => expect(parseView(formatView(view))).toEqual(view)));
});

test("a URL is one that people can read", () => {
  const view = parseView(`?property=news&section=3&from=2026-03-01T00:00Z&to=2026-03-08T00:00Z&zone=${ZONE}`);
  expect(formatView(view)).toBe(
    `?property=news&section=3&from=2026-03-01T00:00Z&to=2026-03-08T00:00Z&zone=${ZONE}`,
  );
});

test.each([
  ["?range=year&by=minute&rows=7&list=all", { range: "7d", by: "auto", rows: 20, list: "sections" }],
  ["?section=3&item=4", { property: null, section: null, item: null }],
  ["?property=news&section=0&item=4", { property: "news", section: null, item: null }],
  ["?property=news&section=4294967296", { section: null }],
  ["?from=2026-03-08T00:00Z&to=2026-03-01T00:00Z", { range: "7d", from: null, to: null }],
  ["?from=yesterday&to=2026-03-01T00:00Z", { range: "7d", from: null, to: null }],
])("what makes no sense in %s counts as absent", (query, expected) => {
  expect(parseView(query)).toMatchObject(expected);
});

test("a zone that does not exist is the browser's", () => {
  const { timeZone } = Intl.DateTimeFormat().resolvedOptions();
  expect(parseView("?zone=Mars/Base").zone).toBe(timeZone);
});

test("a step down keeps the time and how it is shown, and begins a list anew", () => {
  const view = parseView(`?property=news&list=items&rows=100&range=30d&compare=off&by=week&zone=${ZONE}`);
  expect(within(view, { property: "news", section: 3 })).toEqual({
    ...view,
    section: 3,
    list: "sections",
    rows: 20,
  });
});
