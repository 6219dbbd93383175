import { Pool } from "pg";
import { pino } from "pino";
import { adaptToCluster } from "../../../src/counts/cluster.js";
import { migrate } from "../../../src/postgres/migrate.js";
import { createPartitions } from "../../../src/postgres/partitions.js";
import { migrationsDirectory } from "../../../src/util/package-info.js";
import { COARSE, CountsModel, FINE, seededRandom } from "../../support/counts-model.js";
import { createStatsDatabase } from "../../support/stats-database.js";
// @ts-expect-error: plain JavaScript, which the global set-up runs as it is
import { createThrowawayPostgres } from "../../support/throwaway-postgres.js";

const NOON = Date.UTC(2026, 2, 10, 12);
const TABLES = [
  "incoming",
  "counts_quarter_hour",
  "counts_hour",
  "counts_day",
  "counts_state",
  "counts_cluster",
  "counts_backfill",
  "counts_incomplete",
  "counts_rows_removed",
];

interface ThrowawayPostgres {
  readonly url: string;
  start(): Promise<void>;
  close(): Promise<void>;
}

/** What pg_dump and pg_restore do with the rows of these tables, and with the default of the column. */
async function restore(from: Pool, to: Pool): Promise<void> {
  await createPartitions(to, NOON, { daysBehind: 2, daysAhead: 1 });
  for (const table of TABLES) {
    const { rows } = await from.query<{ rows: unknown }>(
      `SELECT coalesce(json_agg(each), '[]') AS rows FROM ${table} AS each`,
    );
    await to.query(`TRUNCATE ${table}`);
    await to.query(`INSERT INTO ${table} SELECT * FROM json_populate_recordset(NULL::${table}, $1)`, [
      JSON.stringify(rows[0]?.rows),
    ]);
  }
}

it("counts once what a dump brings into another cluster, whose transactions have smaller numbers, and what comes there", async () => {
  await using source = await createStatsDatabase();
  await createPartitions(source.pool, NOON, { daysBehind: 2, daysAhead: 1 });
  // An old cluster has used up more numbers than a new one.
  const { rows: numbers } = await source.pool.query<{ old: boolean }>("SELECT txid_current() > 0 AS old");
  expect(numbers).toHaveLength(1);
  for (let i = 0; i < 300; i += 1) {
    await source.pool.query("SELECT txid_current()");
  }
  const model = new CountsModel(source.pool, seededRandom(7));
  await model.push(20);
  await model.fold(FINE);
  await model.fold(COARSE);
  // The dump is made while this is not counted, in one tier, and this in none.
  await model.push(20);
  await model.fold(FINE);
  await model.push(20);

  const postgres = (await createThrowawayPostgres({})) as ThrowawayPostgres;
  try {
    await postgres.start();
    const pool = new Pool({ connectionString: postgres.url });
    pool.on("error", () => undefined);
    await migrate({ url: postgres.url, directory: migrationsDirectory, logger: pino({ level: "silent" }) });
    await restore(source.pool, pool);
    const client = await pool.connect();
    expect([await adaptToCluster(client), await adaptToCluster(client)]).toEqual([true, false]);
    client.release();
    const restored = model.continuedIn(pool);
    expect(await restored.errors()).toEqual([]);
    await restored.push(20);
    await restored.fold(FINE);
    await restored.insertByHand();
    await restored.finish();
    expect([...(await restored.differences()), ...(await restored.errors())]).toEqual([]);
    await pool.end();
  } finally {
    await postgres.close();
  }
}, 60_000);
