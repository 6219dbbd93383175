import { pino } from "pino";
import { PartitionKeeper } from "../../../src/postgres/partition-keeper.js";
import {
  createPartitions,
  DAY_MS,
  dayPartition,
  type PartitionedTable,
  partitionNames,
} from "../../../src/postgres/partitions.js";
import { closePool, createPool } from "../../../src/postgres/pool.js";
import type { TestDatabase } from "../../support/database.js";
import { uuidv7At } from "../../support/encoded.js";
import { FakeClock } from "../../support/fake-clock.js";
import { SilentProxy } from "../../support/silent-proxy.js";
import { createStatsDatabase, lockWaiters, openTransaction } from "../../support/stats-database.js";

const NOW = Date.UTC(2026, 2, 3, 12);
const MIDNIGHT = Date.UTC(2026, 2, 4);
const WEEK = { daysBehind: 7, daysAhead: 7 };
/** The days from a week before NOW to a week after. */
const NAMES = namesOf("incoming");
const DEAD_NAMES = namesOf("incoming_dead");

function namesOf(table: PartitionedTable): string[] {
  return Array.from({ length: 15 }, (_, i) => dayPartition(NOW + (i - 7) * DAY_MS, table).name);
}

let database: TestDatabase;

beforeEach(async () => {
  database = await createStatsDatabase();
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

/** Which partition each row is in. */
async function places(): Promise<Record<string, string>> {
  const { rows } = await database.pool.query<{ id: string; place: string }>(
    "SELECT id, tableoid::regclass::text AS place FROM incoming ORDER BY id",
  );
  return Object.fromEntries(rows.map(({ id, place }) => [id, place]));
}

async function partitions(table: PartitionedTable = "incoming"): Promise<string[]> {
  const names = await partitionNames(database.pool, table);
  return [...names].filter((name) => name !== `${table}_default`).sort();
}

describe("createPartitions", () => {
  it("makes a partition of both tables for each day that is asked for, and tells which", async () => {
    expect(await createPartitions(database.pool, NOW, WEEK)).toEqual({
      made: [...NAMES, ...DEAD_NAMES],
      detached: [],
      crowded: [],
      refused: [],
    });
    expect(await partitions()).toEqual(NAMES);
    expect(await partitions("incoming_dead")).toEqual(DEAD_NAMES);
    expect([NAMES[0], NAMES[14]]).toEqual(["incoming_20260224", "incoming_20260310"]);
  });

  it("makes only those that are missing", async () => {
    await createPartitions(database.pool, NOW, WEEK);
    expect(await createPartitions(database.pool, NOW, WEEK)).toMatchObject({ made: [] });
    expect(await createPartitions(database.pool, NOW + DAY_MS, WEEK)).toEqual({
      made: ["incoming_20260311", "incoming_dead_20260311"],
      detached: [],
      crowded: [],
      refused: [],
    });
  });

  it("leaves a partition alone that was detached, and tells which", async () => {
    await createPartitions(database.pool, NOW, WEEK);
    await insert(uuidv7At(NOW));
    await database.pool.query("ALTER TABLE incoming DETACH PARTITION incoming_20260303");
    const detached = ["incoming_20260303"];
    expect(await createPartitions(database.pool, NOW, WEEK)).toEqual({
      made: [],
      detached,
      crowded: [],
      refused: [],
    });
    expect(await partitions()).toEqual(NAMES.filter((name) => !detached.includes(name)));
    await insert(uuidv7At(NOW, 1));
    expect(await places()).toEqual({ [uuidv7At(NOW, 1)]: "incoming_default" });
  });

  it("has a day's events go to its partition, to the last millisecond", async () => {
    await createPartitions(database.pool, NOW, WEEK);
    const [last, first, outside] = [
      uuidv7At(MIDNIGHT - 1, 2 ** 48 - 1),
      uuidv7At(MIDNIGHT, 0),
      uuidv7At(NOW + 8 * DAY_MS),
    ];
    await insert(last, first, outside);
    expect(await places()).toEqual({
      [last]: "incoming_20260303",
      [first]: "incoming_20260304",
      [outside]: "incoming_default",
    });
  });

  it("keeps an id unique over all partitions, and gives each the index on stamp", async () => {
    await createPartitions(database.pool, NOW, { daysBehind: 0, daysAhead: 0 });
    await insert(uuidv7At(NOW));
    await expect(insert(uuidv7At(NOW))).rejects.toMatchObject({ code: "23505" });
    const { rows } = await database.pool.query(
      "SELECT indexdef FROM pg_indexes WHERE tablename = 'incoming_20260303' AND indexdef LIKE '%brin%'",
    );
    expect(rows).toHaveLength(1);
  });

  it("moves the rows that are in the default partition for want of theirs, and only those", async () => {
    const [early, late, other] = [uuidv7At(MIDNIGHT - 1), uuidv7At(MIDNIGHT), uuidv7At(NOW - 30 * DAY_MS)];
    await insert(early, late, other);
    await createPartitions(database.pool, NOW, WEEK);
    expect(await places()).toEqual({
      [other]: "incoming_default",
      [early]: "incoming_20260303",
      [late]: "incoming_20260304",
    });
  });

  it.each([
    ["an identity", "number bigint GENERATED ALWAYS AS IDENTITY", (n: number) => `${n}`],
    ["a computed column", "double bigint GENERATED ALWAYS AS (property_id * 2) STORED", () => "84"],
  ])(
    "moves rows of a table to which somebody added %s, and keeps its values",
    async (_, column, expected) => {
      await database.pool.query(`ALTER TABLE incoming ADD COLUMN ${column}`);
      await insert(uuidv7At(NOW), uuidv7At(NOW, 1));
      await createPartitions(database.pool, NOW, { daysBehind: 0, daysAhead: 0 });
      await insert(uuidv7At(NOW, 2));
      const { rows } = await database.pool.query<Record<string, unknown>>(
        `SELECT tableoid::regclass::text AS place, ${column.split(" ", 1)[0]} AS value FROM incoming ORDER BY id`,
      );
      expect(rows).toEqual([1, 2, 3].map((n) => ({ place: "incoming_20260303", value: expected(n) })));
    },
  );

  it("leaves a day in the default partition that has more rows there than can be moved in a moment", async () => {
    await database.pool.query(
      `INSERT INTO incoming SELECT (left('${uuidv7At(NOW)}', 24) || lpad(to_hex(n), 12, '0'))::uuid, 'news', 3, 42, NULL,
       now() FROM generate_series(0, 100000) AS n`,
    );
    expect(await createPartitions(database.pool, NOW, { daysBehind: 1, daysAhead: 1 })).toMatchObject({
      made: expect.arrayContaining(["incoming_20260302", "incoming_20260304"]) as unknown,
      crowded: ["incoming_20260303"],
    });
    await database.pool.query(`DELETE FROM incoming WHERE id = '${uuidv7At(NOW)}'`);
    expect(await createPartitions(database.pool, NOW, { daysBehind: 1, daysAhead: 1 })).toMatchObject({
      made: ["incoming_20260303"],
    });
    const { rows } = await database.pool.query("SELECT count(*)::integer AS count FROM incoming_20260303");
    expect(rows).toEqual([{ count: 100_000 }]);
  });

  it("may run twice at the same time", async () => {
    await insert(uuidv7At(NOW));
    const passes = await Promise.all([
      createPartitions(database.pool, NOW, WEEK),
      createPartitions(database.pool, NOW, WEEK),
    ]);
    expect(passes.flatMap(({ made }) => made).sort()).toEqual([...NAMES, ...DEAD_NAMES].sort());
    expect(await partitions()).toEqual(NAMES);
    expect(await places()).toEqual({ [uuidv7At(NOW)]: "incoming_20260303" });
  });

  it("goes on with the other days when PostgreSQL refuses to move a row of one", async () => {
    const day = NOW - 2 * DAY_MS;
    await insert(uuidv7At(day, 1));
    await database.pool.query("ALTER TABLE incoming ADD CONSTRAINT odd CHECK (property_id < 42) NOT VALID");
    const { made, refused } = await createPartitions(database.pool, NOW, WEEK);
    const { name } = dayPartition(day);
    expect(refused).toEqual([{ name, reason: expect.stringContaining('violates check constraint "odd"') }]);
    expect(made).toEqual([...NAMES.filter((each) => each !== name), ...DEAD_NAMES]);
    expect(await places()).toEqual({ [uuidv7At(day, 1)]: "incoming_default" });
  });

  it("knows its partitions when the database quotes all identifiers", async () => {
    const { pathname } = new URL(database.url);
    await database.pool.query(`ALTER DATABASE ${pathname.slice(1)} SET quote_all_identifiers = on`);
    const pool = createPool({ url: database.url, logger: pino({ level: "silent" }) });
    expect(await createPartitions(pool, NOW, WEEK)).toMatchObject({ made: [...NAMES, ...DEAD_NAMES] });
    expect(await createPartitions(pool, NOW, WEEK)).toMatchObject({ made: [] });
    expect(await partitionNames(pool, "incoming")).toEqual(new Set(["incoming_default", ...NAMES]));
    await closePool(pool);
  });

  it("gives up when it cannot get its lock, rather than have inserts wait behind it", async () => {
    await using _ = await openTransaction(
      database.pool,
      `INSERT INTO incoming VALUES ('${uuidv7At(NOW, 1)}', 'news', 3, 42, NULL, now())`,
    );
    const creation = createPartitions(database.pool, NOW, WEEK);
    const refused = expect(creation).rejects.toMatchObject({ code: "55P03" });
    await lockWaiters(database.pool);
    // It queues behind the partition's lock, and gets through while the transaction is still open.
    await insert(uuidv7At(NOW, 2));
    await refused;
    expect(await partitions()).toEqual([]);
  });
});

describe("PartitionKeeper", () => {
  const silent = pino({ level: "silent" });

  /** A log, its lines, and when one of them has this message. */
  function listen() {
    const lines: string[] = [];
    let onLine = () => {};
    const write = (line: string) => {
      lines.push(line);
      onLine();
    };
    const heard = async (msg: string) => {
      while (!lines.some((line) => line.includes(`"msg":"${msg}"`))) {
        await new Promise<void>((resolve) => {
          onLine = resolve;
        });
      }
    };
    return { logger: pino({ level: "info" }, { write }), lines, heard };
  }

  it("makes the partitions of a week behind and a week ahead, now and as time goes on", async () => {
    const clock = new FakeClock(NOW);
    const { logger, lines, heard } = listen();
    const keeper = new PartitionKeeper({ pool: database.pool, clock, logger });
    await keeper.keep();
    expect(await partitions()).toEqual(NAMES);
    lines.length = 0;
    clock.setNow(NOW + DAY_MS);
    await clock.advance(60 * 60 * 1000);
    await heard("partitions made");
    await keeper.close();
    expect(await partitions()).toEqual([...NAMES, "incoming_20260311"]);
    expect(clock.pendingTimers).toBe(0);
  });

  it("warns once of a day that was detached, and does not say that it made it", async () => {
    const { logger, lines } = listen();
    const clock = new FakeClock(NOW);
    const keeper = new PartitionKeeper({ pool: database.pool, clock, logger });
    await keeper.keep();
    await database.pool.query("ALTER TABLE incoming DETACH PARTITION incoming_20260303");
    lines.length = 0;
    await keeper.keep();
    await keeper.keep();
    await keeper.close();
    expect(lines.map((line) => JSON.parse(line) as unknown)).toEqual([
      expect.objectContaining({ level: 40, partitions: ["incoming_20260303"] }),
    ]);
  });

  it("says when it cannot, and tries again in a minute", async () => {
    const clock = new FakeClock(NOW);
    const { logger, lines, heard } = listen();
    const keeper = new PartitionKeeper({ pool: database.pool, clock, logger });
    await database.pool.query("ALTER TABLE incoming RENAME TO gone");
    await keeper.keep();
    expect(lines).toEqual([expect.stringContaining('relation \\"incoming\\" does not exist')]);
    await database.pool.query("ALTER TABLE gone RENAME TO incoming");
    await clock.advance(60_000);
    await heard("partitions made");
    await keeper.close();
    expect(await partitions()).toEqual(NAMES);
  });

  it("gives up at once when it is closed while PostgreSQL is silent, and says nothing of it", async () => {
    await using proxy = await SilentProxy.start(database.url, "pg_inherits");
    const pool = createPool({ url: proxy.url, logger: silent });
    const clock = new FakeClock(NOW);
    const { logger, lines } = listen();
    const keeper = new PartitionKeeper({ pool, clock, logger });
    keeper.start();
    await clock.advance(60 * 60 * 1000);
    await proxy.fellSilent();
    await keeper.close();
    await keeper.close();
    expect(lines).toEqual([]);
    expect(clock.pendingTimers).toBe(0);
    await closePool(pool);
  });
});
