import { setImmediate } from "node:timers/promises";
import { pino } from "pino";
import { Aggregator } from "../../../src/counts/aggregator.js";
import { readProgress } from "../../../src/counts/count-state.js";
import { CountsKeeper } from "../../../src/counts/counts-keeper.js";
import { isIndexComplete } from "../../../src/postgres/incoming-index.js";
import { migrate } from "../../../src/postgres/migrate.js";
import { createPartitions } from "../../../src/postgres/partitions.js";
import { migrationsDirectory } from "../../../src/util/package-info.js";
import { CountsModel, seededRandom } from "../../support/counts-model.js";
import { createTestDatabase, type TestDatabase } from "../../support/database.js";
import { FakeClock } from "../../support/fake-clock.js";
import {
  createStatsDatabase,
  migrationsUpTo,
  openSession,
  openTransaction,
} from "../../support/stats-database.js";

const INTERVAL_MS = 2_000;

interface LogLine {
  readonly msg: string;
  readonly level: number;
  readonly [key: string]: unknown;
}

/** A log that can be read. */
function createLog() {
  const lines: LogLine[] = [];
  const logger = pino({ level: "debug" }, { write: (line) => void lines.push(JSON.parse(line) as LogLine) });
  return { lines, logger };
}

/** Lets what is asked of PostgreSQL be answered, until `isDone`. */
async function until(isDone: () => boolean | Promise<boolean>): Promise<void> {
  while (!(await isDone())) {
    await setImmediate();
  }
}

async function countIn(database: TestDatabase, table: string): Promise<number> {
  const { rows } = await database.pool.query<{ count: number }>(
    `SELECT coalesce(sum(count), 0)::integer AS count FROM ${table} WHERE item = 0 AND section = 0`,
  );
  return rows[0]?.count ?? 0;
}

describe("Aggregator", () => {
  let database: TestDatabase;
  let clock: FakeClock;
  let model: CountsModel;

  beforeEach(async () => {
    database = await createStatsDatabase();
    await forgetLastFold();
    clock = new FakeClock();
    model = new CountsModel(database.pool, seededRandom(1));
  });

  afterEach(async () => {
    await database.close();
  });

  /** How recent a fold is, PostgreSQL's clock says, which a test does not move. */
  async function forgetLastFold(): Promise<void> {
    await database.pool.query("UPDATE counts_state SET fresh_at = now() - interval '1 hour'");
  }

  function createAggregator() {
    const log = createLog();
    const folded: [tiers: string, rows: number][] = [];
    const aggregator = new Aggregator({
      pool: database.pool,
      clock,
      random: () => 0.5,
      logger: log.logger,
      intervalMs: INTERVAL_MS,
      observer: { folded: (tiers, rows) => void folded.push([tiers, rows]), failed: () => undefined },
    });
    return { aggregator, log, folded };
  }

  it("counts what is there in all tiers, and what comes later at the next fold", async () => {
    await model.insertRows(10);
    const { aggregator, folded } = createAggregator();
    await using _ = aggregator;
    aggregator.start();
    await until(() => folded.length === 2);
    expect(folded).toEqual([
      ["quarter_hour", 10],
      ["hour and day", 10],
    ]);
    await model.insertRows(5);
    await forgetLastFold();
    await until(() => clock.pendingTimers > 0);
    await clock.advance(INTERVAL_MS);
    await until(() => folded.length === 4);
    expect(
      await Promise.all(
        ["counts_quarter_hour", "counts_hour", "counts_day"].map((table) => countIn(database, table)),
      ),
    ).toEqual([15, 15, 15]);
  });

  it("leaves a fold to another service that has just folded, and knows from it how fresh the counts are", async () => {
    const first = createAggregator();
    const second = createAggregator();
    await using one = first.aggregator;
    await using two = second.aggregator;
    one.start();
    await until(() => first.folded.length === 2);
    two.start();
    await until(() => clock.pendingTimers === 2);
    expect(second.folded).toEqual([]);
    expect(two.fault()).toBeUndefined();
  });

  it("says that nothing is counted while it cannot, and goes on when it can", async () => {
    await database.pool.query("ALTER TABLE counts_hour RENAME TO counts_of_old");
    const { aggregator, log, folded } = createAggregator();
    await using _ = aggregator;
    aggregator.start();
    await until(() => log.lines.some(({ level }) => level === 50));
    expect(log.lines.at(-1)).toMatchObject({ faultClass: "schema" });
    expect(aggregator.fault()).toContain("counts_hour");
    await database.pool.query("ALTER TABLE counts_of_old RENAME TO counts_hour");
    await until(() => clock.pendingTimers > 0);
    await clock.advance(60_000);
    await until(() => folded.some(([tiers]) => tiers === "hour and day"));
    await until(() => clock.pendingTimers > 0);
    expect(aggregator.fault()).toBeUndefined();
  });

  it("refuses a distributed database by its name, and counts nothing there", async () => {
    await database.pool.query(
      `SET allow_system_table_mods = on;
       INSERT INTO pg_extension (oid, extname, extowner, extnamespace, extrelocatable, extversion)
       VALUES (99999, 'citus', 10, 2200, false, '12.1'); RESET allow_system_table_mods`,
    );
    await model.insertRows(3);
    const { aggregator, log } = createAggregator();
    aggregator.start();
    await until(() => log.lines.length > 0);
    expect(log.lines).toMatchObject([{ level: 50, database: "Citus" }]);
    expect(aggregator.fault()).toContain("Citus");
    await aggregator.close();
    expect(clock.pendingTimers).toBe(0);
    expect(await countIn(database, "counts_day")).toBe(0);
  });

  it("reads only what came since, once the index has been told of the rows", async () => {
    await createPartitions(database.pool, clock.now(), { daysBehind: 1, daysAhead: 1 });
    await model.insertRows(50_000, clock.now());
    const { aggregator, folded } = createAggregator();
    await using _ = aggregator;
    aggregator.start();
    await until(() => clock.pendingTimers > 0);
    expect(folded[0]).toEqual(["quarter_hour", 50_000]);
    await using session = await openSession(database.pool);
    await session.client.query("SET enable_seqscan = off");
    const { rows } = await session.client.query<{ "QUERY PLAN": unknown }>(
      `EXPLAIN (ANALYZE, FORMAT JSON) SELECT FROM incoming WHERE tx >= ${Number.MAX_SAFE_INTEGER}`,
    );
    const looks = JSON.stringify(rows[0]).matchAll(/"Rows Removed by Index Recheck":(\d+)/g);
    const read = [...looks].reduce((sum, [, count]) => sum + Number(count), 0);
    // Less than one range of the index.
    expect(read).toBeLessThan(10_000);
  });

  it("ends at once in the middle of a fold, and nothing of it has happened", async () => {
    await model.insertRows(10);
    const holder = await openTransaction(
      database.pool,
      "LOCK TABLE counts_quarter_hour IN ACCESS EXCLUSIVE MODE",
    );
    const { aggregator } = createAggregator();
    aggregator.start();
    await until(async () => {
      const { rowCount } = await database.pool.query("SELECT FROM pg_locks WHERE NOT granted");
      return rowCount !== 0;
    });
    await aggregator.close();
    await holder[Symbol.asyncDispose]();
    expect(await countIn(database, "counts_quarter_hour")).toBe(0);
    await model.fold();
    expect(await model.differences()).toEqual([]);
  });
});

describe("CountsKeeper", () => {
  const NOW = Date.UTC(2026, 2, 10, 12);
  const DAY_MS = 24 * 60 * 60 * 1000;
  let database: TestDatabase;

  beforeEach(async () => {
    database = await createTestDatabase();
  });

  afterEach(async () => {
    await database.close();
  });

  function createKeeper(options: Partial<ConstructorParameters<typeof CountsKeeper>[0]> = {}) {
    const log = createLog();
    const keeper = new CountsKeeper({
      pool: database.pool,
      clock: new FakeClock(NOW),
      logger: log.logger,
      quarterDays: 35,
      hourDays: 400,
      retentionDays: undefined,
      ...options,
    });
    return { keeper, log };
  }

  /** A database of the version before the counts, with more rows than a migration may read under a lock. */
  async function createOldDatabase(rowsADay: number, days: number): Promise<CountsModel> {
    await using directory = await migrationsUpTo(3);
    const logger = pino({ level: "silent" });
    await migrate({ url: database.url, directory: directory.path, logger });
    await createPartitions(database.pool, NOW, { daysBehind: days, daysAhead: 1 });
    const model = new CountsModel(database.pool, seededRandom(1));
    for (let day = 0; day < days; day += 1) {
      await model.insertRows(rowsADay, NOW - day * DAY_MS);
    }
    await migrate({ url: database.url, directory: migrationsDirectory, logger });
    return model;
  }

  it("builds the index of a large table and counts its rows day by day, the newest first", async () => {
    const model = await createOldDatabase(20_000, 4);
    expect(await isIndexComplete(database.pool)).toBe(false);
    await model.push(10);
    const { keeper, log } = createKeeper();
    await using _ = keeper;
    await until(async () => {
      await keeper.keep();
      return log.lines.some(({ daysLeft }) => daysLeft === 0);
    });
    expect(await isIndexComplete(database.pool)).toBe(true);
    const days = log.lines
      .filter(({ rows }) => Number(rows) > 0)
      .map(({ start }) => String(start).slice(0, 10));
    expect(days).toEqual(["2026-03-10", "2026-03-09", "2026-03-08", "2026-03-07"]);
    await model.finish();
    expect([...(await model.differences()), ...(await model.errors())]).toEqual([]);
    expect(await readProgress(database.pool)).toMatchObject({ backfillDays: 0, unindexedPartitions: 0 });
  });

  it("counts the days first that retention is about to drop", async () => {
    await createOldDatabase(10, 10);
    const { keeper, log } = createKeeper({ retentionDays: 8 });
    await using _ = keeper;
    await until(async () => {
      await keeper.keep();
      return log.lines.some(({ daysLeft }) => daysLeft === 0);
    });
    const days = log.lines
      .filter(({ rows }) => Number(rows) > 0)
      .map(({ start }) => String(start).slice(8, 10));
    expect(days).toEqual(["01", "02", "03", "04", "10", "09", "08", "07", "06", "05"]);
  });

  it("drops counts that are too old for their tier, and lets nothing late into a bucket that is gone", async () => {
    const model = await createOldDatabase(10, 12);
    await model.finish();
    const { keeper } = createKeeper({ quarterDays: 8, hourDays: 10 });
    await using _ = keeper;
    await keeper.keep();
    await model.insertRows(5, NOW - 11 * DAY_MS);
    await model.finish();
    expect([...(await model.differences()), ...(await model.errors())]).toEqual([]);
    const { rows } = await database.pool.query(
      `SELECT (SELECT min(bucket) FROM counts_quarter_hour) >= '2026-03-02Z' AS quarters,
         (SELECT min(bucket) FROM counts_hour) >= '2026-02-28Z' AS hours,
         (SELECT min(bucket) FROM counts_day) = '2026-02-27Z' AS days`,
    );
    expect(rows).toEqual([{ quarters: true, hours: true, days: true }]);
  });
});
