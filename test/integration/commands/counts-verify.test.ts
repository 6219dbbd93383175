import { createPartitions } from "../../../src/postgres/partitions.js";
import { CountsModel, seededRandom } from "../../support/counts-model.js";
import type { TestDatabase } from "../../support/database.js";
import { runCommand } from "../../support/run-command.js";
import { createStatsDatabase } from "../../support/stats-database.js";

const NOON = Date.UTC(2026, 2, 10, 12);

let database: TestDatabase;

beforeEach(async () => {
  database = await createStatsDatabase();
  await createPartitions(database.pool, NOON, { daysBehind: 0, daysAhead: 0 });
  const model = new CountsModel(database.pool, seededRandom(1));
  await model.insertRows(20, NOON);
  await model.finish();
});

afterEach(async () => {
  await database.close();
});

function counts(...args: string[]) {
  return runCommand(["counts", ...args], { DATABASE_URL: database.url });
}

test("counts verify says day by day what it compared, and ends with 0 when all is equal", async () => {
  const { status, stdout } = await counts("verify");
  expect(status).toBe(0);
  expect(stdout).toBe(
    "2026-03-10  20 rows; quarter_hour, hour, day: equal\n1 of 1 days compared: the counts equal the rows\n",
  );
});

test("counts verify ends with 1 and shows the keys, until counts rebuild has corrected them", async () => {
  await database.pool.query("DELETE FROM incoming WHERE property_section = 1");
  await database.pool.query("UPDATE counts_hour SET count = count + 1 WHERE section = 2 AND item = 0");
  const differing = await counts("verify");
  expect(differing.status).toBe(1);
  expect(differing.stdout).toMatch(/\d+ DIFFERENCES\n +day news\/0\/0 at .*: 20 counted, \d+ rows\n/);
  const rebuilt = await counts("rebuild", "--from", "2026-03-10", "--to", "2026-03-10");
  expect([rebuilt.status, rebuilt.stdout]).toEqual([
    0,
    expect.stringMatching(/^2026-03-10 {2}\d+ counts corrected\n$/),
  ]);
  expect((await counts("verify")).status).toBe(0);
});

test("counts verify compares the days it is asked for, and refuses what is none", async () => {
  const { stdout } = await counts("verify", "--from", "2026-03-11", "--json");
  expect(stdout).toBe("");
  expect((await counts("verify", "--to", "2026-02-30")).status).toBe(2);
  expect((await counts("verify", "--from", "2026-03-02", "--to", "2026-03-01")).status).toBe(2);
});
