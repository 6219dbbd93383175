/** Compares the counts of one day with its rows, in SQL; it decides nothing and changes nothing. */

import { bucketOf, coarser, KEY_OF_ROW, levelsOf } from "./count-sql.js";
import { type FoldState, isNew, type StateSql, stateParameters, stateValues } from "./count-state.js";
import { QUARTER_HOUR, type Tier } from "./tiers.js";

/** What is compared. Rows of the day that a state has not counted are no difference. */
export interface Comparison {
  /** Midnight in UTC, in ISO 8601. */
  readonly day: string;
  /** Of all tiers, the finest first, as one snapshot has them. */
  readonly states: readonly FoldState[];
  /** Whether the rows from before the counts are counted by now. */
  readonly isBackfilled: boolean;
}

/** A key whose count is not what its rows say. */
export interface Difference {
  readonly tier: string;
  readonly property: string;
  readonly section: string;
  readonly item: string;
  readonly bucket: string;
  /** As the rows say, and as the counts say; 0: there is none. */
  readonly rows: string;
  readonly counted: string;
}

/** The tiers that still have the day. */
export function tiersWith(day: string, states: readonly FoldState[]): Tier[] {
  return states.filter(({ keptFromMs }) => keptFromMs <= Date.parse(day)).map(({ tier }) => tier);
}

/** The values for {@link comparisonParts}. */
export function comparisonValues({ day, states, isBackfilled }: Comparison): unknown[] {
  const [quarterHour, hour] = states as [FoldState, FoldState];
  return [day, isBackfilled, ...stateValues(quarterHour), ...stateValues(hour)];
}

const START = "$1::timestamptz";
const END = "($1::timestamptz + interval '24 hours')";

/**
 * SQL for WITH: `day_rows` has the rows by key and quarter hour, and how many of them each state has counted;
 * `differences` the keys of which a tier is wrong. `$1` is the day, `$2` whether old rows are counted, `$3` to `$6` and
 * `$7` to `$10` are the states of the finest and of the other tiers.
 */
export function comparisonParts(tiers: readonly Tier[]): string {
  const counted = (state: StateSql) => `count(*) FILTER (WHERE NOT (${isNew(state)}))`;
  const wanted = (tier: Tier) => {
    const column = tier === QUARTER_HOUR ? "counted" : "counted_coarse";
    const source = `(SELECT property, section, item, bucket, ${column} AS count FROM day_rows WHERE ${column} > 0) AS rows`;
    return tier === QUARTER_HOUR ? `SELECT * FROM ${source}` : coarser(source, tier);
  };
  return [
    `day_rows AS MATERIALIZED (
      SELECT ${KEY_OF_ROW}, ${bucketOf("stamp", QUARTER_HOUR)} AS bucket, count(*) AS count,
        ${counted(stateParameters(3))} AS counted, ${counted(stateParameters(7))} AS counted_coarse
      FROM incoming WHERE stamp >= ${START} AND stamp < ${END}
        AND ($2::boolean OR tx <> (SELECT backfill_tx FROM counts_cluster)) GROUP BY 1, 2, 3, 4)`,
    ...tiers.map((tier) => `wanted_${tier.name} AS MATERIALIZED (${wanted(tier)})`),
    `differences AS MATERIALIZED (${tiers.map(differencesOf).join(" UNION ALL ")})`,
  ].join(", ");
}

function differencesOf(tier: Tier): string {
  return `SELECT '${tier.name}' AS tier, property, section, item, bucket,
      coalesce(wanted.count, 0) AS rows, coalesce(counts.count, 0) AS counted
    FROM (${levelsOf(`wanted_${tier.name}`)}) AS wanted (property, section, item, bucket, count)
    FULL JOIN (SELECT * FROM ${tier.table} WHERE bucket >= ${START} AND bucket < ${END}) AS counts
      USING (property, section, item, bucket)
    WHERE wanted.count IS DISTINCT FROM counts.count`;
}

/** Rows of a day, by what the states know of them. */
export interface DayRows {
  readonly rows: number;
  /** Of them, those that the finest counts have. */
  readonly counted: number;
}

/** SQL that says what {@link comparisonParts} found, with up to ten examples. */
export const FINDINGS = `
  SELECT (SELECT coalesce(sum(count), 0)::float8 FROM day_rows) AS rows,
    (SELECT coalesce(sum(counted), 0)::float8 FROM day_rows) AS counted,
    (SELECT count(*)::float8 FROM differences) AS differences,
    (SELECT coalesce(json_agg(example), '[]') FROM (SELECT tier, property, section::text, item::text, bucket::text,
       rows::text, counted::text FROM differences ORDER BY tier, property, section, item, bucket LIMIT 10) AS example)
      AS examples`;

export interface Findings extends DayRows {
  readonly differences: number;
  readonly examples: readonly Difference[];
}
