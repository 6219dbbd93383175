/** Lists the properties, sections or items with the highest counts, and counts single items. */
import {
  type BucketUnit,
  bucketStart,
  lengthOf,
  nextBucketStart,
  rangeBefore,
  type TimeRange,
} from "./calendar.js";
import { type Coverage, describeCoverage, notKept } from "./coverage.js";
import type { CountKey } from "./series.js";
import { type Snapshot, timestamps } from "./snapshot.js";
import { coverBuckets, type Segment, type TierState } from "./tiers.js";
import { ceilTo, DAY_MS, HOUR_MS, QUARTER_HOUR_MS } from "./time-units.js";
import type { TimeZone } from "./time-zone.js";

/** What the entries of a list are. */
export type Dimension = "property" | "section" | "item";

/** Ranges up to this long are taken from the finest tier alone, which is the freshest; longer ones would cost too much. */
const FINE_RANGE_MAX_MS = 2 * DAY_MS;

/** Which entries there are; what is undefined does not restrict them. */
export interface TopFilter {
  readonly property: string | undefined;
  readonly section: number | undefined;
  /** The properties that the caller may read. */
  readonly properties: ReadonlySet<string> | undefined;
}

/** Where an entry stands in the list. */
export interface Position {
  readonly count: bigint;
  readonly property: string;
  readonly section: number;
  readonly item: number;
}

export interface TopQuery {
  readonly dimension: Dimension;
  readonly filter: TopFilter;
  readonly range: TimeRange;
  readonly zone: TimeZone;
  readonly pageSize: number;
  /** The last entry of the page before; undefined: from the start. */
  readonly after: Position | undefined;
  readonly comparesPrevious: boolean;
}

/** `section` and `item` are 0 where the dimension has none. */
export interface TopEntry extends Position {
  /** undefined: was not asked for. */
  readonly previous: bigint | undefined;
  /** Both are empty where there is none. */
  readonly label: string;
  readonly url: string;
}

export interface Top {
  readonly entries: readonly TopEntry[];
  readonly hasMore: boolean;
  /** Of all pages. */
  readonly total: bigint;
  readonly size: bigint;
  readonly previousTotal: bigint | undefined;
  readonly coverage: Coverage;
}

/** What a range counts, rounded outwards to what is kept at its ends. */
interface CountedRange extends TimeRange {
  readonly segments: readonly Segment[];
}

/**
 * Answers from a snapshot. Nothing that begins at `now` or later is counted.
 *
 * @throws RangeNotKeptError
 */
export async function readTop(snapshot: Snapshot, query: TopQuery, now: number): Promise<Top> {
  const { range, zone, comparesPrevious } = query;
  const counted = roundOutwards(snapshot.tiers, zone, range, now);
  const before = comparesPrevious ? rangeBeforeOf(snapshot.tiers, zone, range, counted, now) : undefined;
  const page = await readPage(snapshot, query, counted.segments);
  const previous = before && {
    counts: await countKeys(snapshot, page.entries, before.segments),
    total: await countAll(snapshot, query, before.segments),
  };
  return {
    ...page,
    entries: page.entries.map((entry, n) => ({ ...entry, previous: previous?.counts[n] })),
    previousTotal: previous?.total,
    coverage: describeCoverage(
      snapshot,
      { start: counted.start, end: counted.end },
      [...counted.segments, ...(before?.segments ?? [])],
      now,
    ),
  };
}

export interface ItemCountsQuery {
  readonly items: readonly CountKey[];
  readonly range: TimeRange;
  readonly zone: TimeZone;
}

/** The counts of items, in their order. */
export interface ItemCounts {
  readonly counts: readonly bigint[];
  readonly coverage: Coverage;
}

/** @throws RangeNotKeptError */
export async function readItemCounts(
  snapshot: Snapshot,
  { items, range, zone }: ItemCountsQuery,
  now: number,
): Promise<ItemCounts> {
  const { start, end, segments } = roundOutwards(snapshot.tiers, zone, range, now);
  return {
    counts: await countKeys(snapshot, items, segments),
    coverage: describeCoverage(snapshot, { start, end }, segments, now),
  };
}

/** The units that the ends of a range may be rounded to. */
const EDGE_UNITS: readonly BucketUnit[] = ["quarterHour", "hour", "day"];

/** Each end by itself to the shortest unit of the zone that is kept there; the end not past the unit that `now` is in. */
function roundOutwards(
  tiers: readonly TierState[],
  zone: TimeZone,
  range: TimeRange,
  now: number,
): CountedRange {
  const shownEnd = Math.min(range.end, now);
  for (const endUnit of EDGE_UNITS) {
    const end = nextBucketStart(zone, endUnit, bucketStart(zone, endUnit, shownEnd - 1));
    for (const startUnit of EDGE_UNITS) {
      const start = bucketStart(zone, startUnit, range.start);
      const fineFrom = end - start > FINE_RANGE_MAX_MS + HOUR_MS ? Number.POSITIVE_INFINITY : start;
      const segments = coverBuckets(tiers, [start, end], fineFrom);
      if (segments !== undefined) {
        return { start, end, segments };
      }
    }
  }
  throw notKept(tiers, zone, { start: range.start, end: shownEnd }, "quarterHour");
}

function rangeBeforeOf(
  tiers: readonly TierState[],
  zone: TimeZone,
  range: TimeRange,
  counted: TimeRange,
  now: number,
): CountedRange {
  const shift = lengthOf(zone, "quarterHour", range);
  const end = ceilTo(Math.max(range.end, counted.end), QUARTER_HOUR_MS);
  const before = rangeBefore(zone, "quarterHour", { start: counted.start, end }, shift, now);
  return roundOutwards(tiers, zone, before, before.end);
}

/** Rows of the tables at the level of a dimension. The sums of sections have item 0, those of properties section 0, too. */
const LEVELS: Readonly<Record<Dimension, string>> = {
  property: "section = 0 AND item = 0",
  section: "section > 0 AND item = 0",
  item: "section > 0 AND item > 0",
};

/** Collects the values of a statement's parameters. */
class Parameters {
  readonly values: unknown[] = [];

  /** The place that stands for the value in the statement. */
  add(value: unknown): string {
    return `$${this.values.push(value)}`;
  }
}

/** All rows of the segments that have a condition. */
function rowsOf(parameters: Parameters, segments: readonly Segment[], condition: string): string {
  const parts = segments.map(({ state, start, end }) => {
    const [from, to] = timestamps([start, end]).map((time) => `${parameters.add(time)}::timestamptz`);
    return `SELECT property, section, item, count FROM ${state.tier.table}
      WHERE bucket >= ${from} AND bucket < ${to} AND ${condition}`;
  });
  return parts.length === 0
    ? "SELECT ''::text, 0::bigint, 0::bigint, 0::bigint WHERE false"
    : parts.join(" UNION ALL ");
}

function conditionOf(
  parameters: Parameters,
  level: string,
  { property, section, properties }: TopFilter,
): string {
  return [
    level,
    ...(property === undefined ? [] : [`property = ${parameters.add(property)}`]),
    ...(section === undefined ? [] : [`section = ${parameters.add(section)}`]),
    ...(properties === undefined ? [] : [`property = ANY (${parameters.add([...properties])}::text[])`]),
  ].join(" AND ");
}

interface PageRow {
  readonly property: string | null;
  readonly section: string;
  readonly item: string;
  readonly count: string;
  readonly label: string;
  readonly url: string;
  readonly size: string;
  readonly total: string;
}

type Page = Pick<Top, "hasMore" | "total" | "size"> & {
  readonly entries: readonly Omit<TopEntry, "previous">[];
};

async function readPage(
  { client }: Snapshot,
  { dimension, filter, pageSize, after }: TopQuery,
  segments: readonly Segment[],
): Promise<Page> {
  const parameters = new Parameters();
  const rows = rowsOf(parameters, segments, conditionOf(parameters, LEVELS[dimension], filter));
  const position =
    after &&
    [-after.count, after.property, after.section, after.item].map((value) => parameters.add(String(value)));
  // One more than the page has tells whether there is another.
  const result = await client.query<PageRow>(
    `WITH counted AS MATERIALIZED (
       SELECT property, section, item, sum(count)::bigint AS count FROM (${rows}) AS rows
       GROUP BY property, section, item HAVING sum(count) > 0
     ), page AS (
       SELECT * FROM counted
       ${position ? `WHERE (-count, property COLLATE "C", section, item) > (${position[0]}::bigint, ${position[1]}::text, ${position[2]}::bigint, ${position[3]}::bigint)` : ""}
       ORDER BY count DESC, property COLLATE "C", section, item LIMIT ${parameters.add(pageSize + 1)}
     )
     SELECT page.*, coalesce(label, '') AS label, coalesce(url, '') AS url, size, total
     FROM (SELECT count(*) AS size, coalesce(sum(count), 0) AS total FROM counted) AS whole
     LEFT JOIN page ON true LEFT JOIN labels USING (property, section, item)
     ORDER BY page.count DESC, page.property COLLATE "C", page.section, page.item`,
    parameters.values,
  );
  const entries = result.rows.flatMap(({ property, section, item, count, label, url }) =>
    property === null
      ? []
      : [{ property, section: Number(section), item: Number(item), count: BigInt(count), label, url }],
  );
  const whole = result.rows[0];
  return {
    entries: entries.slice(0, pageSize),
    hasMore: entries.length > pageSize,
    size: BigInt(whole?.size ?? 0),
    total: BigInt(whole?.total ?? 0),
  };
}

/** The sum over all entries of a list: of properties or of one section, whose sums the tables have. */
async function countAll(
  { client }: Snapshot,
  { filter }: TopQuery,
  segments: readonly Segment[],
): Promise<bigint> {
  const parameters = new Parameters();
  const level = filter.section === undefined ? LEVELS.property : LEVELS.section;
  const rows = rowsOf(parameters, segments, conditionOf(parameters, level, filter));
  const result = await client.query<{ total: string }>(
    `SELECT coalesce(sum(count), 0) AS total FROM (${rows}) AS rows`,
    parameters.values,
  );
  return BigInt(result.rows[0]?.total ?? 0);
}

/** The count of each key, in their order. */
async function countKeys(
  { client }: Snapshot,
  keys: readonly { property: string; section: number | undefined; item: number | undefined }[],
  segments: readonly Segment[],
): Promise<bigint[]> {
  if (segments.length === 0 || keys.length === 0) {
    return keys.map(() => 0n);
  }
  const parameters = new Parameters();
  const wanted = [
    `${parameters.add(keys.map(({ property }) => property))}::text[]`,
    `${parameters.add(keys.map(({ section = 0 }) => section))}::bigint[]`,
    `${parameters.add(keys.map(({ item = 0 }) => item))}::bigint[]`,
  ].join(", ");
  const sums = segments.map(({ state, start, end }) => {
    const [from, to] = timestamps([start, end]).map((time) => `${parameters.add(time)}::timestamptz`);
    // A subquery for each key, which reads the key's rows by the index and no others, whatever is guessed of their number.
    return `coalesce((SELECT sum(count) FROM ${state.tier.table} AS rows
      WHERE rows.property = wanted.property AND rows.section = wanted.section AND rows.item = wanted.item
        AND bucket >= ${from} AND bucket < ${to}), 0)`;
  });
  const { rows } = await client.query<{ count: string }>(
    `SELECT ${sums.join(" + ")} AS count
     FROM unnest(${wanted}) WITH ORDINALITY AS wanted (property, section, item, n) ORDER BY n`,
    parameters.values,
  );
  return rows.map(({ count }) => BigInt(count));
}
