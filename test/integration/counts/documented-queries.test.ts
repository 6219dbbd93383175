import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { countRows, insertEvents } from "../../support/counts.js";
import type { TestDatabase } from "../../support/database.js";
import { createStatsDatabase } from "../../support/stats-database.js";

const HOUR = 3_600_000;
const DAY = 24 * HOUR;
let database: TestDatabase;
let queries: string[];

beforeAll(async () => {
  const page = await readFile(join(import.meta.dirname, "../../../docs/counts.md"), "utf8");
  queries = [...page.matchAll(/^```sql\n(.*?)^```$/gms)].map(([, sql = ""]) => sql);
  database = await createStatsDatabase();
  const now = Date.now();
  await insertEvents(
    database.pool,
    Array.from({ length: 2_000 }, (_, n) => ({
      property: n % 3 === 0 ? "shop" : "news",
      section: 3 + (n % 2),
      item: 40 + (n % 7),
      at: now - ((n * 7_919_000) % (40 * DAY)),
    })),
  );
  await countRows(database.pool, now);
  await database.pool.query(
    "INSERT INTO labels VALUES ('news', 3, 42, 'An article', 'https://example.com/42')",
  );
});
afterAll(() => database.close());

/** What a query gives, and what the same gives over the rows. */
async function both(query: string | undefined, overRows: string) {
  const [counts, rows] = await Promise.all([database.pool.query(query ?? ""), database.pool.query(overRows)]);
  expect(rows.rows.length).toBeGreaterThan(1);
  return [counts.rows, rows.rows];
}

test("the documented query of an item by the hour gives what the rows give", async () => {
  const [counts, rows] = await both(
    queries[0],
    `SELECT date_trunc('hour', stamp, 'Europe/Berlin') AS time, count(*) AS views FROM incoming
     WHERE property = 'news' AND property_section = 3 AND property_id = 42
       AND stamp >= to_timestamp(ceil(extract(epoch FROM now() - interval '7 days') / 900) * 900)
     GROUP BY time ORDER BY time`,
  );
  expect(counts).toEqual(rows);
});

test("the documented query of properties by the day gives what the rows give", async () => {
  const [counts, rows] = await both(
    queries[1],
    `SELECT date_trunc('day', stamp, 'Europe/Berlin') AS time, property AS metric, count(*) AS views FROM incoming
     WHERE stamp >= date_trunc('day', now(), 'Europe/Berlin') - interval '29 days' GROUP BY 1, 2 ORDER BY 1, 2`,
  );
  expect(counts).toEqual(rows);
});

test("the documented query of the most read items gives what the rows give, with their names", async () => {
  const [counts, rows] = await both(
    queries[2],
    `SELECT property_section AS section, property_id AS item,
       CASE WHEN property_section = 3 AND property_id = 42 THEN 'An article' ELSE property_section || '/' || property_id END AS name,
       CASE WHEN property_section = 3 AND property_id = 42 THEN 'https://example.com/42' END AS url, count(*) AS views
     FROM incoming WHERE property = 'news' AND stamp >= date_trunc('day', now(), 'UTC') - interval '6 days'
     GROUP BY 1, 2 ORDER BY views DESC, 1, 2 LIMIT 20`,
  );
  expect(counts).toEqual(rows);
});

test("there are three of them", () => {
  expect(queries).toHaveLength(3);
});
