import { pino } from "pino";
import { RemovedRows } from "../../../src/counts/removed-rows.js";
import { createPartitions, DAY_MS, dayPartition, partitionNames } from "../../../src/postgres/partitions.js";
import { createPool } from "../../../src/postgres/pool.js";
import { findExpired, firstKeptDay, type Removal, removeExpired } from "../../../src/postgres/retention.js";
import { RetentionKeeper } from "../../../src/postgres/retention-keeper.js";
import type { TestDatabase } from "../../support/database.js";
import { uuidv7At } from "../../support/encoded.js";
import { FakeClock } from "../../support/fake-clock.js";
import {
  createRole,
  createStatsDatabase,
  lockWaiters,
  openTransaction,
} from "../../support/stats-database.js";

const NOW = Date.UTC(2026, 2, 20, 12);
const RETENTION_DAYS = 8;
/** 12 March; the partitions go back to the 10th. */
const FIRST_KEPT = firstKeptDay(NOW, RETENTION_DAYS);
const OLD = ["incoming_20260310", "incoming_20260311"];
const OLD_DEAD = ["incoming_dead_20260310", "incoming_dead_20260311"];

let database: TestDatabase;

beforeEach(async () => {
  database = await createStatsDatabase();
  await createPartitions(database.pool, NOW, { daysBehind: 10, daysAhead: 1 });
});

afterEach(async () => {
  await database.close();
});

async function insert(...ids: string[]): Promise<void> {
  await database.pool.query(
    `INSERT INTO incoming SELECT id, 'news', 3, 42, NULL, now() FROM unnest($1::uuid[]) AS id`,
    [ids],
  );
}

async function bury(...ids: string[]): Promise<void> {
  await database.pool.query(
    `INSERT INTO incoming_dead (id, payload, sqlstate, message, attempts)
     SELECT id, '', '', '', 1 FROM unnest($1::uuid[]) AS id`,
    [ids],
  );
}

async function idsIn(table: "incoming" | "incoming_dead"): Promise<string[]> {
  const { rows } = await database.pool.query<{ id: string }>(`SELECT id FROM ${table} ORDER BY id`);
  return rows.map(({ id }) => id);
}

async function remove(): Promise<Removal> {
  const client = await database.pool.connect();
  try {
    return await removeExpired(client, FIRST_KEPT, { books: new RemovedRows() });
  } finally {
    client.release();
  }
}

function namesOf({ partitions }: Pick<Removal, "partitions">): string[] {
  return partitions.map(({ name }) => name);
}

test("the first day that is kept changes at midnight", () => {
  const midnight = Date.UTC(2026, 2, 20);
  expect(firstKeptDay(midnight - 1, 8)).toBe(Date.UTC(2026, 2, 11));
  expect(firstKeptDay(midnight, 8)).toBe(Date.UTC(2026, 2, 12));
});

describe("removeExpired", () => {
  it("drops the days before the first that is kept, of both tables, and no other", async () => {
    const last = uuidv7At(FIRST_KEPT - 1, 2 ** 48 - 1);
    const [first, newest] = [uuidv7At(FIRST_KEPT), uuidv7At(NOW)];
    await insert(last, first, newest);
    await bury(last, first, newest);
    const before = await partitionNames(database.pool, "incoming");
    expect(namesOf(await remove())).toEqual([...OLD, ...OLD_DEAD]);
    expect(await idsIn("incoming")).toEqual([first, newest]);
    expect(await idsIn("incoming_dead")).toEqual([first, newest]);
    const after = await partitionNames(database.pool, "incoming");
    expect([...before].filter((name) => !after.has(name)).sort()).toEqual(OLD);
    const { rows } = await database.pool.query("SELECT to_regclass('incoming_20260310') AS dropped");
    expect(rows).toEqual([{ dropped: null }]);
  });

  it("knows the days when the database quotes all identifiers", async () => {
    const client = await database.pool.connect();
    try {
      await client.query("SET quote_all_identifiers = on");
      expect(namesOf(await removeExpired(client, FIRST_KEPT, { books: new RemovedRows() }))).toEqual([
        ...OLD,
        ...OLD_DEAD,
      ]);
    } finally {
      client.release(true);
    }
  });

  it("deletes old rows that have no partition of their day, however many, and keeps newer ones", async () => {
    const old = Array.from({ length: 5_001 }, (_, n) => uuidv7At(NOW - 30 * DAY_MS, n));
    const newer = uuidv7At(NOW + 30 * DAY_MS);
    await insert(...old, newer);
    await bury(uuidv7At(NOW - 30 * DAY_MS), newer);
    expect(await remove()).toMatchObject({
      loose: [
        { name: "incoming_default", rows: 5_001 },
        { name: "incoming_dead_default", rows: 1 },
      ],
    });
    expect([await idsIn("incoming"), await idsIn("incoming_dead")]).toEqual([[newer], [newer]]);
  });

  it("leaves alone what only looks like an old day", async () => {
    const other = dayPartition(Date.UTC(2020, 0, 1));
    const another = dayPartition(Date.UTC(2020, 0, 2));
    await database.pool.query(`
      CREATE TABLE incoming_20190101 (id uuid);
      CREATE TABLE incoming_archive PARTITION OF incoming FOR VALUES FROM ('${other.from}') TO ('${other.to}');
      CREATE TABLE incoming_20200103 PARTITION OF incoming FOR VALUES FROM ('${another.from}') TO ('${another.to}');
      ALTER TABLE incoming DETACH PARTITION incoming_20260311`);
    expect(namesOf(await remove())).toEqual(["incoming_20260310", ...OLD_DEAD]);
    const { rows } = await database.pool.query(
      `SELECT count(*)::integer AS left FROM pg_class
       WHERE relname IN ('incoming_20190101', 'incoming_archive', 'incoming_20200103', 'incoming_20260311')`,
    );
    expect(rows).toEqual([{ left: 4 }]);
  });

  it("gives up when the table is in use, so that inserts do not wait, and drops it the next time", async () => {
    const holder = await openTransaction(
      database.pool,
      `INSERT INTO incoming VALUES ('${uuidv7At(NOW, 1)}', 'news', 3, 42, NULL, now())`,
    );
    const removal = remove();
    await lockWaiters(database.pool);
    // It queues behind the lock, and gets through while the transaction is still open.
    await insert(uuidv7At(NOW, 2));
    const { kept, partitions } = await removal;
    expect(kept).toEqual([
      { name: OLD[0], reason: expect.stringContaining("canceling statement due to lock timeout") },
    ]);
    expect(partitions.map(({ name }) => name)).toEqual(OLD_DEAD);
    await holder[Symbol.asyncDispose]();
    expect(namesOf(await remove())).toEqual(OLD);
    expect(await idsIn("incoming")).toEqual([uuidv7At(NOW, 1), uuidv7At(NOW, 2)]);
  });

  it("does not make inserts wait for one who reads the old partition", async () => {
    await using _ = await openTransaction(database.pool, `SELECT * FROM ${OLD[0]}`);
    const { kept } = await remove();
    expect(kept).toEqual([{ name: OLD[0], reason: expect.stringContaining("could not obtain lock") }]);
    expect(await partitionNames(database.pool, "incoming")).toContain(OLD[0]);
  });

  it("keeps a partition that a view depends on, and drops the others", async () => {
    await database.pool.query(`CREATE VIEW march AS SELECT * FROM ${OLD[0]}`);
    const { kept, partitions } = await remove();
    expect(kept).toEqual([{ name: OLD[0], reason: expect.stringContaining("other objects depend on it") }]);
    expect(partitions.map(({ name }) => name)).toEqual([OLD[1], ...OLD_DEAD]);
  });

  it("may run twice at the same time", async () => {
    const removals = await Promise.all([remove(), remove()]);
    const names = removals.flatMap(namesOf);
    expect(new Set(names).size).toBe(names.length);
    await remove();
    expect(await findExpired(database.pool, FIRST_KEPT)).toEqual({ partitions: [], loose: [] });
  });
});

test("findExpired tells what would go, and how much of it there is, and removes nothing", async () => {
  await insert(uuidv7At(FIRST_KEPT - 1), uuidv7At(NOW - 30 * DAY_MS));
  await database.pool.query("ANALYZE incoming_20260311");
  const { partitions, loose } = await findExpired(database.pool, FIRST_KEPT);
  expect(namesOf({ partitions })).toEqual([...OLD, ...OLD_DEAD]);
  expect(partitions[1]).toEqual({
    table: "incoming",
    name: "incoming_20260311",
    sqlName: "incoming_20260311",
    rows: 1,
    bytes: expect.any(Number),
  });
  expect(loose).toEqual([{ name: "incoming_default", rows: 1 }]);
  expect(await idsIn("incoming")).toHaveLength(2);
});

describe("RetentionKeeper", () => {
  const MINUTE_MS = 60 * 1000;
  const HOUR_MS = 60 * MINUTE_MS;

  function keeperAt(clock: FakeClock, pool = database.pool) {
    const log: Record<string, unknown>[] = [];
    let onLine = () => {};
    const write = (line: string) => {
      log.push(JSON.parse(line));
      onLine();
    };
    /** Resolves when something has been logged about this partition. */
    const heardOf = async (name: string | undefined) => {
      while (!log.some(({ partition }) => partition === name)) {
        await new Promise<void>((resolve) => {
          onLine = resolve;
        });
      }
    };
    const keeper = new RetentionKeeper({
      pool,
      clock,
      logger: pino({}, { write }),
      retentionDays: RETENTION_DAYS,
      books: new RemovedRows(),
      bringBooksUpToDate: () => Promise.resolve(),
    });
    return { keeper, log, heardOf };
  }

  it("drops what is old, soon after the start and as time goes on, and says so", async () => {
    const clock = new FakeClock(NOW);
    const { keeper, log, heardOf } = keeperAt(clock);
    keeper.start();
    await clock.advance(MINUTE_MS);
    await heardOf(OLD_DEAD[1]);
    expect(log.map(({ partition }) => partition)).toEqual([...OLD, ...OLD_DEAD]);
    expect(log[0]).toMatchObject({ msg: "old partition dropped", bytes: expect.any(Number) });
    await keeper.enforce();
    clock.setNow(NOW + DAY_MS);
    await clock.advance(HOUR_MS);
    await heardOf("incoming_dead_20260312");
    await keeper.close();
    expect(await partitionNames(database.pool, "incoming")).not.toContain("incoming_20260312");
    expect(clock.pendingTimers).toBe(0);
  });

  it("goes by PostgreSQL's clock when its own is ahead of that", async () => {
    const now = Date.now();
    await createPartitions(database.pool, now, { daysBehind: RETENTION_DAYS, daysAhead: 7 });
    const { keeper, log } = keeperAt(new FakeClock(now + 365 * DAY_MS));
    await keeper.enforce();
    await keeper.close();
    expect(log.map(({ partition }) => partition)).toEqual(expect.arrayContaining(OLD));
    const names = await partitionNames(database.pool, "incoming");
    for (let day = 1 - RETENTION_DAYS; day <= 7; day++) {
      expect(names).toContain(dayPartition(now + day * DAY_MS).name);
    }
  });

  it("says which are in use, and tries them again before the hour is over", async () => {
    const clock = new FakeClock(NOW);
    const { keeper, log, heardOf } = keeperAt(clock);
    await using holder = await openTransaction(database.pool, `SELECT * FROM ${OLD[0]}`);
    await keeper.enforce();
    expect(log.find(({ partition }) => partition === OLD[0])).toMatchObject({
      msg: "an old partition cannot be dropped yet",
      reason: expect.stringContaining("could not obtain lock"),
    });
    await holder[Symbol.asyncDispose]();
    await clock.advance(5 * MINUTE_MS);
    await heardOf(OLD[1]);
    await keeper.close();
    expect(await partitionNames(database.pool, "incoming")).not.toContain(OLD[0]);
  });

  it("says when it has no right to, and removes nothing", async () => {
    await using role = await createRole(database, "GRANT ALL ON ALL TABLES IN SCHEMA public TO $role");
    const pool = createPool({ url: role.url, logger: pino({ level: "silent" }) });
    const { keeper, log } = keeperAt(new FakeClock(NOW), pool);
    await keeper.enforce();
    await keeper.close();
    await pool.end();
    expect(log).toEqual([expect.objectContaining({ reason: expect.stringContaining("must be owner") })]);
    expect(await partitionNames(database.pool, "incoming")).toContain(OLD[0]);
  });

  it("leaves the table in peace at once when it is closed in the middle of a wait", async () => {
    const clock = new FakeClock(NOW);
    const { keeper, log } = keeperAt(clock);
    await using _ = await openTransaction(database.pool, "LOCK TABLE incoming IN SHARE MODE");
    keeper.start();
    await clock.advance(MINUTE_MS);
    await lockWaiters(database.pool);
    await keeper.close();
    await keeper.close();
    expect(log).toEqual([]);
    expect(clock.pendingTimers).toBe(0);
  });
});
