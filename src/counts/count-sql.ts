/** The SQL that turns rows of `incoming` into counts; it runs no statement. */
import type { Tier } from "./tiers.js";

/** What a row of `incoming` is called in counts. */
export const KEY_OF_ROW = "property, property_section AS section, property_id AS item";

/**
 * SQL for the begin of the bucket in which `time` lies. In UTC, whatever the session's zone is; date_bin() does the same,
 * but PostgreSQL 13 does not have it.
 */
export function bucketOf(time: string, { unitMs }: Tier): string {
  const seconds = unitMs / 1000;
  return `to_timestamp(floor(date_part('epoch', ${time}) / ${seconds}) * ${seconds})`;
}

/** SQL that adds up counts of a finer tier, `source`, to those of `tier`. */
export function coarser(source: string, tier: Tier): string {
  return `SELECT property, section, item, ${bucketOf("bucket", tier)} AS bucket, sum(count)::bigint AS count
    FROM ${source} GROUP BY 1, 2, 3, 4`;
}

/**
 * SQL for the rows of a tier, given the counts of keys as they are in `incoming`: the items, and the sums of sections
 * (item 0) and properties (section and item 0). A section or an item below 1, which SQL alone can write, is in the
 * sums and has no rows, which could be mistaken for sums.
 */
export function levelsOf(source: string): string {
  return `SELECT property, section, item, bucket, count FROM ${source} WHERE section > 0 AND item > 0
    UNION ALL
    SELECT property, section, 0, bucket, sum(count)::bigint FROM ${source} WHERE section > 0
      GROUP BY property, section, bucket
    UNION ALL
    SELECT property, 0, 0, bucket, sum(count)::bigint FROM ${source} GROUP BY property, bucket`;
}

/**
 * SQL that adds the counts in `source` to a tier, except to buckets before `keptFrom`, an expression. In the order of
 * the keys, so that those who write at the same time wait for each other and do not deadlock.
 */
export function addTo(tier: Tier, source: string, keptFrom: string): string {
  return `INSERT INTO ${tier.table} AS counts (property, section, item, bucket, count)
    SELECT property, section, item, bucket, count FROM (${levelsOf(source)}) AS levels (property, section, item, bucket, count)
    WHERE bucket >= ${keptFrom} ORDER BY property, section, item, bucket
    ON CONFLICT (property, section, item, bucket) DO UPDATE SET count = counts.count + excluded.count`;
}
