import fc from "fast-check";
import {
  BUCKET_UNITS,
  type BucketUnit,
  bucketEdges,
  lengthOf,
  rangeBefore,
} from "../../../src/counts/calendar.js";
import { CountQueries, createQueryPool } from "../../../src/counts/count-queries.js";
import { RangeNotKeptError } from "../../../src/counts/query-errors.js";
import type { Bucket, CountKey, Series, SeriesQuery } from "../../../src/counts/series.js";
import { ceilTo, DAY_MS, HOUR_MS, QUARTER_HOUR_MS } from "../../../src/counts/time-units.js";
import { findTimeZone, type TimeZone } from "../../../src/counts/time-zone.js";
import type { Dimension, Top, TopEntry, TopQuery } from "../../../src/counts/top.js";
import { type CountedEvent, countRows, dropBuckets, insertEvents } from "../../support/counts.js";
import type { TestDatabase } from "../../support/database.js";
import { silent } from "../../support/rpc-port.js";
import { createStatsDatabase } from "../../support/stats-database.js";

const NOW = Date.UTC(2026, 10, 28, 14, 20, 33, 123);
const TODAY = Date.UTC(2026, 10, 28);
/** Everything that is asked about lies in it, with four changes of the clock in Europe. */
const DAYS = 800;
const FIRST = NOW - DAYS * DAY_MS;
const PATIENT = { onAbandoned: () => undefined };

const ZONES = [
  "UTC",
  "Europe/Berlin",
  "America/New_York",
  "America/St_Johns",
  "Asia/Kolkata",
  "Asia/Kathmandu",
  "Australia/Lord_Howe",
  "Pacific/Chatham",
  "Africa/Casablanca",
].map((name) => findTimeZone(name) as TimeZone);

const anyEvent: fc.Arbitrary<CountedEvent> = fc.record({
  property: fc.constantFrom("a", "b", "c_"),
  section: fc.integer({ min: 1, max: 3 }),
  item: fc.constantFrom(1, 2, 3, 4_294_967_295),
  // Many in the last days, some on an edge to the millisecond.
  at: fc
    .oneof(fc.integer({ min: FIRST, max: NOW }), fc.integer({ min: NOW - 3 * DAY_MS, max: NOW }))
    .chain((at) =>
      fc.constantFrom(at, ceilTo(at, HOUR_MS), ceilTo(at, DAY_MS) - 1, ceilTo(at, QUARTER_HOUR_MS)),
    )
    .filter((at) => at < NOW),
});
const anyZone = fc.constantFrom(...ZONES);
const anyRange = fc
  .tuple(
    fc.integer({ min: FIRST, max: NOW - 1 }),
    fc.oneof(
      fc.constant(DAY_MS),
      fc.integer({ min: 1, max: 3 * DAY_MS }),
      fc.integer({ min: 1, max: DAYS * DAY_MS }),
    ),
    fc.constantFrom(1, QUARTER_HOUR_MS, HOUR_MS, DAY_MS),
  )
  .map(([start, length, unit]) => ({ start: ceilTo(start, unit) - unit, end: ceilTo(start + length, unit) }));
const anyKey: fc.Arbitrary<CountKey> = fc
  .tuple(
    fc.constantFrom("a", "b", "c_", "none"),
    fc.integer({ min: 0, max: 3 }),
    fc.integer({ min: 0, max: 4 }),
  )
  .map(([property, section, item]) => ({
    property,
    section: section || undefined,
    item: section && item ? item : undefined,
  }));
const anySeries: fc.Arbitrary<SeriesQuery> = fc.record({
  key: anyKey,
  range: anyRange,
  zone: anyZone,
  unit: fc.option(fc.constantFrom(...BUCKET_UNITS), { nil: undefined }),
  comparesPrevious: fc.boolean(),
});
const anyTop = fc.record({
  dimension: fc.constantFrom<Dimension>("property", "section", "item"),
  filter: fc
    .tuple(anyKey, fc.boolean(), fc.subarray(["a", "b", "c_"]))
    .map(([{ property, section }, isFiltered, properties]) => ({
      property: isFiltered ? property : undefined,
      section: isFiltered ? section : undefined,
      properties: properties.length === 3 ? undefined : new Set(properties),
    })),
  range: anyRange,
  zone: anyZone,
  pageSize: fc.integer({ min: 1, max: 10 }),
  comparesPrevious: fc.boolean(),
});

/** What each tier has kept, as the oldest bucket. */
const KEPT = {
  "everything is kept": { quarter: -Infinity, hour: -Infinity },
  "quarters of an hour are kept for 35 days, and hours for 400": {
    quarter: TODAY - 35 * DAY_MS,
    hour: TODAY - 400 * DAY_MS,
  },
  "only days are kept of what is older than two": { quarter: TODAY - 2 * DAY_MS, hour: TODAY - 2 * DAY_MS },
};

describe.each(Object.entries(KEPT))("where %s,", (_, kept) => {
  let database: TestDatabase;
  let queries: CountQueries;

  beforeAll(async () => {
    database = await createStatsDatabase();
    const [events] = fc.sample(fc.array(anyEvent, { minLength: 3_000, maxLength: 3_000 }), 1);
    await insertEvents(database.pool, events ?? []);
    await database.pool.query("CREATE INDEX ON incoming (property, stamp)");
    await database.pool.query("ANALYZE incoming");
    await countRows(database.pool, NOW - 2_000);
    await dropBuckets(database.pool, "quarter_hour", kept.quarter);
    await dropBuckets(database.pool, "hour", kept.hour);
    const queryPool = createQueryPool({
      url: database.url,
      logger: silent,
      timeoutMs: 20_000,
      maxInFlight: 4,
    });
    queries = new CountQueries({ queryPool, clock: { now: () => NOW } });
  });
  afterAll(async () => {
    await queries.close();
    await database.close();
  });

  /** Whether the tables have an edge of buckets there. */
  function isKept(edge: number): boolean {
    return (
      edge % DAY_MS === 0 ||
      (edge % HOUR_MS === 0 && edge > kept.hour) ||
      (edge % QUARTER_HOUR_MS === 0 && edge > kept.quarter)
    );
  }

  /** The number of rows of a key in each range, by SQL. */
  async function countRaw(
    key: CountKey,
    ranges: readonly { start: number; end: number }[],
  ): Promise<bigint[]> {
    const { rows } = await database.pool.query<{ count: string }>(
      `SELECT (SELECT count(*) FROM incoming WHERE property = $1
          AND property_section = coalesce($2, property_section) AND property_id = coalesce($3, property_id)
          AND stamp >= to_timestamp(first / 1000.0) AND stamp < to_timestamp(past / 1000.0)) AS count
       FROM unnest($4::bigint[], $5::bigint[]) WITH ORDINALITY AS ranges (first, past, n) ORDER BY n`,
      [key.property, key.section, key.item, ranges.map(({ start }) => start), ranges.map(({ end }) => end)],
    );
    return rows.map(({ count }) => BigInt(count));
  }

  /** By PostgreSQL's own calendar: how many rows have each time on the wall, rounded to the unit. */
  async function countByWall(
    { key, zone }: SeriesQuery,
    unit: BucketUnit,
    { start, end }: { start: number; end: number },
  ) {
    const { rows } = await database.pool.query<{ wall: string; count: string }>(
      `SELECT ${wallSql("stamp", unit)} AS wall, count(*) FROM incoming WHERE property = $2
         AND property_section = coalesce($3, property_section) AND property_id = coalesce($4, property_id)
         AND stamp >= to_timestamp($5 / 1000.0) AND stamp < to_timestamp($6 / 1000.0) GROUP BY 1`,
      [zone.name, key.property, key.section, key.item, start, end],
    );
    return new Map(rows.map(({ wall, count }) => [wall, BigInt(count)]));
  }

  /** The same of an answer. */
  async function bucketsByWall(buckets: readonly Bucket[], zone: TimeZone, unit: BucketUnit) {
    const { rows } = await database.pool.query<{ wall: string }>(
      `SELECT ${wallSql("to_timestamp(at / 1000.0)", unit)} AS wall
       FROM unnest($2::bigint[]) WITH ORDINALITY AS starts (at, n) ORDER BY n`,
      [zone.name, buckets.map(({ start }) => start)],
    );
    const byWall = new Map<string, bigint>();
    for (const [n, { wall }] of rows.entries()) {
      const count = buckets[n]?.count ?? 0n;
      if (count > 0n) {
        byWall.set(wall, (byWall.get(wall) ?? 0n) + count);
      }
    }
    return byWall;
  }

  async function requireExact(query: SeriesQuery, { unit, buckets, total, previous, coverage }: Series) {
    const { key, range, zone } = query;
    expect(coverage.start).toBeLessThanOrEqual(range.start);
    expect(coverage.end).toBeGreaterThanOrEqual(Math.min(range.end, NOW));
    expect(buckets[0]?.start).toBe(coverage.start);
    expect(buckets.at(-1)?.end).toBe(coverage.end);
    expect(buckets.slice(1).map(({ start }) => start)).toEqual(buckets.slice(0, -1).map(({ end }) => end));
    expect(buckets.filter(({ start }) => start >= NOW)).toEqual([]);
    expect(buckets.map(({ count }) => count)).toEqual(await countRaw(key, buckets));
    expect(total).toBe((await countRaw(key, [coverage]))[0]);
    expect(await bucketsByWall(buckets, zone, unit)).toEqual(await countByWall(query, unit, coverage));
    expect(previous === undefined).toBe(!query.comparesPrevious);
    if (previous !== undefined) {
      const pairs = previous.pairs.filter((pair) => pair !== undefined);
      expect(previous.pairs).toHaveLength(buckets.length);
      expect(pairs.map(({ count }) => count)).toEqual(await countRaw(key, pairs));
      const [first, last] = [previous.pairs[0], previous.pairs.at(-1)];
      if (first && last && "ms" in lengthOf(zone, unit, range)) {
        expect(previous.total).toBe((await countRaw(key, [{ start: first.start, end: last.end }]))[0]);
      }
    }
  }

  it("a series is what the rows add up to, or says what would fit", async () => {
    let answered = 0;
    let refused = 0;
    await fc.assert(
      fc.asyncProperty(anySeries, async (query) => {
        const { zone, unit } = query;
        const shown = { start: query.range.start, end: Math.min(query.range.end, NOW) };
        const edges = unit && bucketEdges(zone, unit, shown, 5_000);
        fc.pre(unit === undefined || edges !== undefined);
        try {
          const series = await queries.series(query, PATIENT);
          answered += 1;
          await requireExact(query, series);
          expect(edges === undefined || edges.every(isKept)).toBe(true);
        } catch (error) {
          if (!(error instanceof RangeNotKeptError)) {
            throw error;
          }
          refused += 1;
          expect(query.comparesPrevious || !edges?.every(isKept)).toBe(true);
          const { unit: fit, timeZone } = error.fit ?? {};
          const instead = { ...query, unit: fit, zone: findTimeZone(timeZone ?? "") as TimeZone };
          if (!query.comparesPrevious) {
            await requireExact(instead, await queries.series(instead, PATIENT));
          }
        }
      }),
      { numRuns: 150 },
    );
    expect(answered).toBeGreaterThan(0);
    expect(refused > 0).toBe(Number.isFinite(kept.hour));
  });

  /** All entries that a list should have, by SQL. */
  async function listRaw(
    { dimension, filter }: Omit<TopQuery, "after">,
    { start, end }: { start: number; end: number },
  ) {
    const section = dimension === "property" ? "0" : "property_section";
    const item = dimension === "item" ? "property_id" : "0";
    const { rows } = await database.pool.query<{
      property: string;
      section: string;
      item: string;
      count: string;
    }>(
      `SELECT property, ${section} AS section, ${item} AS item, count(*) AS count FROM incoming
       WHERE property = coalesce($1, property) AND property_section = coalesce($2, property_section)
         AND ($3::text[] IS NULL OR property = ANY ($3))
         AND stamp >= to_timestamp($4 / 1000.0) AND stamp < to_timestamp($5 / 1000.0)
       GROUP BY 1, 2, 3 ORDER BY count DESC, property COLLATE "C", 2, 3`,
      [filter.property, filter.section, filter.properties && [...filter.properties], start, end],
    );
    return rows.map(({ property, ...numbers }) => ({
      property,
      section: Number(numbers.section),
      item: Number(numbers.item),
      count: BigInt(numbers.count),
    }));
  }

  it("a list has all keys in their order, page by page, with the sums and counts of the rows", async () => {
    await fc.assert(
      fc.asyncProperty(anyTop, async (query) => {
        fc.pre(query.dimension !== "property" || query.filter.section === undefined);
        const entries: TopEntry[] = [];
        let top: Top;
        try {
          top = await queries.top({ ...query, after: undefined }, PATIENT);
        } catch (error) {
          expect(error).toBeInstanceOf(RangeNotKeptError);
          expect(Number.isFinite(kept.hour)).toBe(true);
          return;
        }
        const first = top;
        for (;;) {
          entries.push(...top.entries);
          if (!top.hasMore) {
            break;
          }
          expect(top.entries).toHaveLength(query.pageSize);
          top = await queries.top({ ...query, after: top.entries.at(-1) }, PATIENT);
        }
        const { coverage } = first;
        expect(coverage.start).toBeLessThanOrEqual(query.range.start);
        expect(coverage.end).toBeGreaterThanOrEqual(Math.min(query.range.end, NOW));
        const expected = await listRaw(query, coverage);
        expect(
          entries.map(({ property, section, item, count }) => ({ property, section, item, count })),
        ).toEqual(expected);
        expect(first.size).toBe(BigInt(expected.length));
        expect(first.total).toBe(expected.reduce((sum, { count }) => sum + count, 0n));
        if (query.comparesPrevious && kept.hour === -Infinity) {
          await requirePrevious(query, coverage, entries, first);
        }
      }),
      { numRuns: 100 },
    );
  });

  async function requirePrevious(
    query: Omit<TopQuery, "after">,
    coverage: { start: number; end: number },
    entries: readonly TopEntry[],
    top: Top,
  ) {
    const { zone, range } = query;
    const shift = lengthOf(zone, "quarterHour", range);
    const rounded = {
      start: coverage.start,
      end: ceilTo(Math.max(range.end, coverage.end), QUARTER_HOUR_MS),
    };
    const { start, end } = rangeBefore(zone, "quarterHour", rounded, shift, NOW);
    const before = await listRaw(query, { start, end: ceilTo(end, QUARTER_HOUR_MS) });
    const keyOf = ({ property, section, item }: Omit<TopEntry, "previous" | "label" | "url" | "count">) =>
      `${property}/${section}/${item}`;
    const counts = new Map(before.map((entry) => [keyOf(entry), entry.count]));
    expect(entries.map(({ previous }) => previous)).toEqual(
      entries.map((entry) => counts.get(keyOf(entry)) ?? 0n),
    );
    expect(top.previousTotal).toBe(before.reduce((sum, { count }) => sum + count, 0n));
  }

  it("items have the counts of their rows, in the order of the request", async () => {
    const anyItems = fc.array(
      fc.record({
        property: fc.constantFrom("a", "b", "c_", "none"),
        section: fc.integer({ min: 1, max: 4 }),
        item: fc.constantFrom(1, 2, 3, 4, 4_294_967_295),
      }),
      { minLength: 1, maxLength: 30 },
    );
    await fc.assert(
      fc.asyncProperty(anyItems, anyRange, anyZone, async (items, range, zone) => {
        try {
          const { counts, coverage } = await queries.itemCounts({ items, range, zone }, PATIENT);
          const raw = await Promise.all(items.map(async (key) => (await countRaw(key, [coverage]))[0]));
          expect(counts).toEqual(raw);
        } catch (error) {
          if (!(error instanceof RangeNotKeptError)) {
            throw error;
          }
        }
      }),
      { numRuns: 40 },
    );
  });
});

function wallSql(stamp: string, unit: BucketUnit): string {
  const wall = `(${stamp} AT TIME ZONE $1)`;
  return unit === "quarterHour"
    ? `(date_trunc('hour', ${wall}) + floor(extract(minute FROM ${wall}) / 15) * interval '15 minutes')::text`
    : `date_trunc('${unit}', ${wall})::text`;
}
