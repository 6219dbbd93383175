import { createPartitions, DAY_MS } from "../../../src/postgres/partitions.js";
import type { TestDatabase } from "../../support/database.js";
import { uuidv7At } from "../../support/encoded.js";
import { runCommand } from "../../support/run-command.js";
import { createStatsDatabase } from "../../support/stats-database.js";

const NOW = Date.now();

let database: TestDatabase;

beforeEach(async () => {
  database = await createStatsDatabase();
  await createPartitions(database.pool, NOW - 20 * DAY_MS, { daysBehind: 0, daysAhead: 0 });
  await database.pool.query("INSERT INTO incoming VALUES ($1, 'news', 3, 42, NULL, now())", [
    uuidv7At(NOW - 30 * DAY_MS),
  ]);
});

afterEach(async () => {
  await database.close();
});

function retention(args: string[], environment: Record<string, string> = {}) {
  return runCommand(["retention", ...args], { DATABASE_URL: database.url, ...environment });
}

test("retention says that everything is kept as long as no RETENTION_DAYS is set", async () => {
  const { status, stdout } = await retention([]);
  expect([status, stdout]).toEqual([0, expect.stringContaining("RETENTION_DAYS is not set")]);
});

test("retention shows what would go, and removes it only when told to", async () => {
  const environment = { RETENTION_DAYS: "10" };
  const shown = await retention([], environment);
  expect(shown.stdout).toMatch(/would be removed now .*:\n {2}incoming_\d{8} .*\n {2}incoming_dead_\d{8} /);
  expect(shown.stdout).toMatch(/incoming_default +1 rows without/);
  const applied = await retention(["--apply", "--json"], environment);
  expect(applied.status).toBe(0);
  expect(JSON.parse(applied.stdout)).toMatchObject({
    retentionDays: 10,
    applied: true,
    partitions: [{ table: "incoming" }, { table: "incoming_dead" }],
    loose: [{ name: "incoming_default", rows: 1 }],
    kept: [],
  });
  expect((await retention([], environment)).stdout).toMatch(/:\n {2}nothing\n$/);
});
