import { Pool } from "pg";
import { pino } from "pino";
import { createPartitions } from "../../../src/postgres/partitions.js";
import { closePool, createPool } from "../../../src/postgres/pool.js";
import { PostgresSink } from "../../../src/sink/postgres-sink.js";
import { SinkError, type WriteOptions, type WriteOutcome } from "../../../src/sink/sink.js";
import type { FaultClass } from "../../../src/util/fault-class.js";
import type { TestDatabase } from "../../support/database.js";
import { decodeTuples, type IncomingRow } from "../../support/decoded.js";
import { encodeBatch, encodeRow, row, rowsAt, uuidv7At } from "../../support/encoded.js";
import {
  createRole,
  createStatsDatabase,
  lockWaiters,
  openTransaction,
} from "../../support/stats-database.js";

const NOW = Date.UTC(2026, 2, 3, 12);
const MIDNIGHT = Date.UTC(2026, 2, 4);

const silent = pino({ level: "silent" });

let database: TestDatabase;
let pool: Pool;
let sink: PostgresSink;
let statements: number;
let log: string[];
const logger = pino({ level: "warn" }, { write: (line) => void log.push(line) });

beforeEach(async () => {
  log = [];
  database = await createStatsDatabase();
  pool = countingPool(database.url);
  sink = new PostgresSink({ pool, prepare: async () => {}, logger });
});

afterEach(async () => {
  await closePool(pool);
  await database.close();
});

/** The service's pool, which counts the statements that go through it. */
function countingPool(url: string, statementTimeoutMs = 10_000): Pool {
  statements = 0;
  const counting = createPool({ url, logger: silent, statementTimeoutMs });
  counting.on("connect", (client) => {
    const query = client.query.bind(client) as (...args: unknown[]) => unknown;
    Object.defineProperty(client, "query", {
      value: (...args: unknown[]) => {
        // What begins and ends a transaction is no statement.
        statements += /^(BEGIN|COMMIT|ROLLBACK)/.test(String(args[0])) ? 0 : 1;
        return query(...args);
      },
    });
  });
  return counting;
}

function write(rows: readonly IncomingRow[], options: Partial<WriteOptions> = {}): Promise<WriteOutcome> {
  return sink.write(encodeBatch(rows), { signal: new AbortController().signal, attempt: 1, ...options });
}

/** The error that a write ends with; fails when it ends with none, or with one that is not of the class. */
async function failureOf(written: Promise<unknown>, faultClass: FaultClass): Promise<SinkError> {
  const error = await written.then(
    () => new Error("the write succeeded"),
    (reason: unknown) => reason,
  );
  if (!(error instanceof SinkError)) {
    throw error;
  }
  expect(error.faultClass).toBe(faultClass);
  return error;
}

async function execute(...sql: string[]): Promise<void> {
  for (const statement of sql) {
    await database.pool.query(statement);
  }
}

async function idsIn(table: "incoming" | "incoming_dead"): Promise<string[]> {
  const { rows } = await database.pool.query<{ id: string }>(`SELECT id FROM ${table} ORDER BY id`);
  return rows.map(({ id }) => id);
}

const idsOf = (rows: readonly IncomingRow[]) => rows.map(({ id }) => id).toSorted();

/** The rows with the property `bad` in these places. */
function spoil(rows: readonly IncomingRow[], ...places: number[]): IncomingRow[] {
  return rows.map((each, i) => (places.includes(i) ? { ...each, property: "bad" } : each));
}

const isBad = ({ property }: IncomingRow) => property === "bad";

/** Has PostgreSQL refuse rows with the property `bad`. */
const refuseBad = () => execute("ALTER TABLE incoming ADD CONSTRAINT no_bad CHECK (property <> 'bad')");

/** Has a trigger do something for rows with the property `bad`. */
const onBad = (statement: string) =>
  execute(
    `CREATE FUNCTION on_bad() RETURNS trigger LANGUAGE plpgsql AS $$
     BEGIN IF NEW.property = 'bad' THEN ${statement}; END IF; RETURN NEW; END $$`,
    "CREATE TRIGGER on_bad BEFORE INSERT ON incoming FOR EACH ROW EXECUTE FUNCTION on_bad()",
  );
const raise = (sqlstate: string) => onBad(`RAISE EXCEPTION 'odd' USING ERRCODE = '${sqlstate}'`);
const afterRepair = () => execute("DROP TRIGGER on_bad ON incoming");

describe("PostgresSink", () => {
  it("writes a batch by one statement", async () => {
    const rows = rowsAt(NOW, 10_000);
    expect(await write(rows)).toEqual({ inserted: 10_000, duplicates: 0, dead: 0 });
    expect(await idsIn("incoming")).toEqual(idsOf(rows));
    expect(statements).toBe(1);
  });

  it("writes across midnight into both days' partitions", async () => {
    await createPartitions(database.pool, NOW, { daysBehind: 0, daysAhead: 1 });
    const rows = [...rowsAt(MIDNIGHT - 1, 10), ...rowsAt(MIDNIGHT, 10)];
    expect(await write(rows)).toEqual({ inserted: 20, duplicates: 0, dead: 0 });
    expect(await write(rows)).toEqual({ inserted: 0, duplicates: 20, dead: 0 });
    const { rows: places } = await database.pool.query(
      "SELECT tableoid::regclass::text AS place, count(*)::integer FROM incoming GROUP BY 1 ORDER BY 1",
    );
    expect(places).toEqual([
      { place: "incoming_20260303", count: 10 },
      { place: "incoming_20260304", count: 10 },
    ]);
  });

  it("prepares before it writes, and writes nothing when that fails", async () => {
    const prepare = () => Promise.reject(Object.assign(new Error("refused"), { code: "ECONNREFUSED" }));
    sink = new PostgresSink({ pool, prepare, logger });
    await failureOf(write(rowsAt(NOW, 1)), "transient");
    expect(statements).toBe(0);
  });

  it("warns, once, of a trigger that drops rows in silence, and counts them as inserted", async () => {
    await onBad("RETURN NULL");
    expect(await write(rowsAt(NOW, 10))).toMatchObject({ inserted: 10 });
    expect(log).toEqual([]);
    expect(await write(spoil(rowsAt(NOW + 1, 10), 2, 3))).toEqual({ inserted: 10, duplicates: 0, dead: 0 });
    await write(spoil(rowsAt(NOW + 2, 10), 4));
    expect(await idsIn("incoming")).toHaveLength(27);
    expect(log.map((line) => JSON.parse(line) as unknown)).toEqual([
      expect.objectContaining({ level: 40, rows: 10, dropped: 2 }),
    ]);
  });

  it("takes a server that is out of reach for a transient fault", async () => {
    const nowhere = new Pool({ host: "127.0.0.1", port: 1 });
    sink = new PostgresSink({ pool: nowhere, prepare: async () => {}, logger });
    await failureOf(write(rowsAt(NOW, 1)), "transient");
    await nowhere.end();
  });
});

describe("PostgresSink, with duplicates", () => {
  it("keeps the first of two rows with one id in a batch", async () => {
    const rows = [...rowsAt(NOW, 10), row(uuidv7At(NOW, 4), { property: "later" })];
    expect(await write(rows)).toEqual({ inserted: 10, duplicates: 1, dead: 0 });
    const { rows: later } = await database.pool.query("SELECT FROM incoming WHERE property = 'later'");
    expect(later).toEqual([]);
  });

  it("skips rows that an earlier batch wrote", async () => {
    const rows = rowsAt(NOW, 30);
    await write(rows.slice(0, 20));
    statements = 0;
    expect(await write(rows.slice(10))).toEqual({ inserted: 10, duplicates: 10, dead: 0 });
    expect(await idsIn("incoming")).toEqual(idsOf(rows));
    // The COPY, the INSERT, and a record in the log, whose commit waits for a standby.
    expect(statements).toBe(3);
  });

  it("writes nothing when all rows are there, as after a commit whose answer was lost", async () => {
    const rows = rowsAt(NOW, 1000);
    await write(rows);
    expect(await write(rows, { attempt: 2 })).toEqual({ inserted: 0, duplicates: 1000, dead: 0 });
    expect(await idsIn("incoming")).toEqual(idsOf(rows));
  });
});

describe("PostgresSink, with rows that PostgreSQL refuses", () => {
  it.each([0, 1, 2500, 4998, 4999])(
    "buries the one at place %d of 5,000, in at most 30 statements, and writes all others",
    async (place) => {
      await refuseBad();
      const rows = spoil(rowsAt(NOW, 5000), place);
      expect(await write(rows, { attempt: 3 })).toMatchObject({ inserted: 4999, duplicates: 0, dead: 1 });
      expect(statements).toBeLessThanOrEqual(30);
      expect(await idsIn("incoming")).toEqual(idsOf(rows.filter((each) => !isBad(each))));

      const culprit = rows[place] as IncomingRow;
      const { rows: dead } = await database.pool.query("SELECT * FROM incoming_dead");
      expect(dead).toEqual([
        {
          id: culprit.id,
          property: "bad",
          property_section: "3",
          property_id: `${culprit.itemId}`,
          remote_ip: "192.0.2.7",
          stamp: new Date(NOW),
          payload: encodeRow(culprit),
          sqlstate: "23514",
          message: expect.stringContaining("no_bad"),
          attempts: 3,
          died_at: expect.any(Date),
        },
      ]);
    },
  );

  it("buries several in one batch, and all of a batch", async () => {
    await refuseBad();
    const rows = spoil(rowsAt(NOW, 100), 0, 1, 50, 98);
    expect(await write(rows)).toMatchObject({
      inserted: 96,
      duplicates: 0,
      dead: 4,
      deadByCode: { 23514: 4 },
    });
    const allBad = rowsAt(NOW + 1, 50).map((each) => ({ ...each, property: "bad" }));
    expect(await write(allBad)).toMatchObject({ inserted: 0, duplicates: 0, dead: 50 });
    expect(await idsIn("incoming_dead")).toEqual(idsOf([...rows.filter(isBad), ...allBad]));
  });

  it("buries what has no address once the table asks for one", async () => {
    await execute("ALTER TABLE incoming ALTER remote_ip SET NOT NULL");
    const rows = rowsAt(NOW, 10).map((each, i) => (i === 5 ? { ...each, remoteIp: null } : each));
    expect(await write(rows)).toMatchObject({ inserted: 9, dead: 1, deadByCode: { 23502: 1 } });
  });

  it.each(["P0001", "23514", "23502"])(
    "buries what a trigger refuses with %s, at the first try",
    async (sqlstate) => {
      await raise(sqlstate);
      const rows = spoil(rowsAt(NOW, 100), 42);
      expect(await write(rows)).toMatchObject({ inserted: 99, dead: 1, deadByCode: { [sqlstate]: 1 } });
      const allBad = rowsAt(NOW + 1, 10).map((each) => ({ ...each, property: "bad" }));
      expect(await write(allBad)).toMatchObject({ dead: 10, deadByCode: { [sqlstate]: 10 } });
    },
  );

  it("tells them from duplicates in the same batch", async () => {
    await refuseBad();
    const rows = rowsAt(NOW, 5000);
    await write(rows.slice(0, 1000));
    statements = 0;
    const batch = spoil(rows, 700, 4000);
    // The row at 700 is in the table already; it is refused before PostgreSQL looks for its id.
    expect(await write(batch)).toMatchObject({ inserted: 3999, duplicates: 999, dead: 2 });
    expect(await idsIn("incoming")).toEqual(idsOf(rows.filter((_, i) => i !== 4000)));
    expect(statements).toBeLessThanOrEqual(60);
  });

  it("buries none twice when the batch is tried again", async () => {
    await refuseBad();
    const rows = spoil(rowsAt(NOW, 10), 5);
    await write(rows);
    expect(await write(rows, { attempt: 2 })).toMatchObject({ inserted: 0, duplicates: 9, dead: 1 });
    expect(await idsIn("incoming_dead")).toHaveLength(1);
  });

  it("buries what a unique index other than the primary key refuses", async () => {
    await execute("CREATE UNIQUE INDEX ON incoming_default (property_id)");
    const [first, second, third] = rowsAt(NOW, 3) as [IncomingRow, IncomingRow, IncomingRow];
    const rows = [first, { ...second, itemId: first.itemId }, third];
    expect(await write(rows)).toMatchObject({ inserted: 2, duplicates: 0, dead: 1 });
    expect(await idsIn("incoming_dead")).toEqual([second.id]);
  });

  it("buries all of a batch that a unique index refuses: rows of the table meet that by being there", async () => {
    await execute("CREATE UNIQUE INDEX ON incoming_default (property_id)");
    const rows = rowsAt(NOW, 20);
    await write(rows.slice(0, 10));
    const again = rowsAt(NOW + 1, 10);
    expect(await write(again)).toMatchObject({ inserted: 0, dead: 10, deadByCode: { 23505: 10 } });
    expect(await idsIn("incoming")).toHaveLength(10);
  });

  it("buries the payload alone when incoming_dead refuses the values too", async () => {
    await refuseBad();
    await execute("ALTER TABLE incoming_dead ADD CONSTRAINT no_bad CHECK (property <> 'bad')");
    const rows = spoil(rowsAt(NOW, 10), 5);
    expect(await write(rows)).toMatchObject({ inserted: 9, dead: 1 });
    const { rows: dead } = await database.pool.query<{
      id: string;
      property: string | null;
      payload: Buffer;
    }>("SELECT id, property, payload FROM incoming_dead");
    expect(dead).toMatchObject([{ id: rows[5]?.id, property: null }]);
    expect(decodeTuples(dead[0]?.payload ?? Buffer.alloc(0))).toEqual([rows[5]]);
  });

  it("loses none when incoming_dead is not there", async () => {
    await refuseBad();
    await execute("ALTER TABLE incoming_dead RENAME TO gone");
    const rows = spoil(rowsAt(NOW, 10), 5);
    await failureOf(write(rows), "schema");
    await execute("ALTER TABLE gone RENAME TO incoming_dead");
    expect(await write(rows)).toMatchObject({ inserted: 0, duplicates: 9, dead: 1 });
  });

  it("can refuse the first row of the largest batch while the rest is still being sent", async () => {
    await refuseBad();
    const rows = spoil(rowsAt(NOW, 100_000), 0);
    expect(await write(rows)).toMatchObject({ inserted: 99_999, duplicates: 0, dead: 1 });
    expect(await idsIn("incoming")).toHaveLength(99_999);
  });
});

describe("PostgresSink, when the schema is at fault", () => {
  it.each([
    [
      "the table is gone",
      "ALTER TABLE incoming RENAME TO gone",
      "ALTER TABLE gone RENAME TO incoming",
      "42P01",
    ],
    [
      "a column is gone",
      "ALTER TABLE incoming RENAME stamp TO gone",
      "ALTER TABLE incoming RENAME gone TO stamp",
      "42703",
    ],
    [
      "no partition takes the rows",
      "ALTER TABLE incoming DETACH PARTITION incoming_default",
      "ALTER TABLE incoming ATTACH PARTITION incoming_default DEFAULT",
      "23514",
    ],
    [
      "a column has another type",
      "ALTER TABLE incoming ALTER property_id TYPE integer",
      "ALTER TABLE incoming ALTER property_id TYPE bigint",
      "22P03",
    ],
    [
      "a column was added that must not be NULL",
      "ALTER TABLE incoming ADD tenant text NOT NULL",
      "ALTER TABLE incoming DROP tenant",
      "23502",
    ],
  ])("keeps the batch when %s, and writes it after the repair", async (_, damage, repair, sqlstate) => {
    const rows = rowsAt(NOW, 100);
    await execute(damage);
    const fault = await failureOf(write(rows, { attempt: 100 }), "schema");
    expect(fault.code).toBe(sqlstate);
    expect(await idsIn("incoming_dead")).toEqual([]);
    await execute(repair);
    expect(await write(rows, { attempt: 101 })).toEqual({ inserted: 100, duplicates: 0, dead: 0 });
    expect(await idsIn("incoming")).toEqual(idsOf(rows));
  });

  it.each([
    ["", async () => {}],
    [
      ", though it has an index that no copy of a row can meet",
      () => execute("CREATE UNIQUE INDEX ON incoming_default (property_id)"),
    ],
  ])(
    "keeps a batch that a new constraint refuses most of, if it refuses rows of the table, too%s",
    async (_, also) => {
      const [known, ...rows] = spoil(rowsAt(NOW, 11), 1, 2, 3) as [IncomingRow, ...IncomingRow[]];
      await also();
      await write([known]);
      await execute("ALTER TABLE incoming ADD CONSTRAINT odd CHECK (property = 'bad') NOT VALID");
      const fault = await failureOf(write(rows), "schema");
      expect(fault).toMatchObject({
        code: "23514",
        message: expect.stringContaining("most rows of a batch"),
      });
      expect(await idsIn("incoming_dead")).toEqual([]);
      await execute("ALTER TABLE incoming DROP CONSTRAINT odd");
      expect(await write(rows, { attempt: 2 })).toEqual({ inserted: 7, duplicates: 3, dead: 0 });
      expect(await idsIn("incoming")).toEqual(idsOf([known, ...rows]));
    },
  );

  it("keeps a batch that a new trigger refuses, if it refuses rows of the table, too", async () => {
    const [known, ...rows] = rowsAt(NOW, 11).map((each) => ({ ...each, property: "bad" })) as [IncomingRow];
    await write([known]);
    await raise("P0001");
    expect((await failureOf(write(rows), "schema")).code).toBe("P0001");
    await afterRepair();
    expect(await write(rows, { attempt: 2 })).toEqual({ inserted: 10, duplicates: 0, dead: 0 });
  });

  it("keeps the batch when it has not the right to write, and writes it once it has", async () => {
    await using role = await createRole(database, "GRANT SELECT ON incoming TO $role");
    const asRole = createPool({ url: role.url, logger: silent });
    try {
      sink = new PostgresSink({ pool: asRole, prepare: async () => {}, logger });
      const rows = rowsAt(NOW, 100);
      expect((await failureOf(write(rows), "schema")).code).toBe("42501");
      await execute(`GRANT INSERT ON incoming TO ${role.name}`);
      expect(await write(rows)).toMatchObject({ inserted: 100 });
    } finally {
      await closePool(asRole);
    }
  });

  it("blames no row for a fault of the schema that comes to light while it looks for a bad one", async () => {
    await refuseBad();
    await onBad("EXECUTE 'SELECT * FROM no_such_table'");
    const rows = spoil(rowsAt(NOW, 100), 50);
    await failureOf(write(rows), "schema");
    expect(await idsIn("incoming_dead")).toEqual([]);
    await afterRepair();
    await write(rows);
    expect(await idsIn("incoming")).toHaveLength(99);
    expect(await idsIn("incoming_dead")).toHaveLength(1);
  });
});

describe("PostgresSink, when it is cut off", () => {
  it("calls a connection that is killed in the middle of a COPY transient; the next try writes each row once", async () => {
    await onBad("PERFORM pg_advisory_xact_lock(7)");
    const rows = spoil(rowsAt(NOW, 1000), 500);
    const holder = await openTransaction(database.pool, "SELECT pg_advisory_xact_lock(7)");
    const failed = failureOf(write(rows), "transient");
    const [pid] = await lockWaiters(database.pool);
    await database.pool.query("SELECT pg_terminate_backend($1)", [pid]);
    await failed;
    await holder[Symbol.asyncDispose]();
    expect(await write(rows, { attempt: 2 })).toEqual({ inserted: 1000, duplicates: 0, dead: 0 });
    expect(await idsIn("incoming")).toEqual(idsOf(rows));
  });

  it.each([
    ["waits for the table", "LOCK TABLE incoming"],
    ["has sent its rows", "SELECT pg_advisory_xact_lock(7)"],
  ])("ends a write that %s as soon as it is aborted; the next try writes each row once", async (_, lock) => {
    await onBad("PERFORM pg_advisory_xact_lock(7)");
    const rows = spoil(rowsAt(NOW, 1000), 500);
    const holder = await openTransaction(database.pool, lock);
    const controller = new AbortController();
    const failed = failureOf(write(rows, { signal: controller.signal }), "transient");
    await lockWaiters(database.pool);
    controller.abort(new Error("the deadline has passed"));
    expect((await failed).message).toBe("the deadline has passed");
    await holder[Symbol.asyncDispose]();
    const { inserted, duplicates, dead } = await write(rows, { attempt: 2 });
    expect([inserted + duplicates, dead]).toEqual([1000, 0]);
    expect(await idsIn("incoming")).toEqual(idsOf(rows));
  });

  it("calls a server that does not answer in time transient; the next try writes each row once", async () => {
    const impatient = createPool({ url: database.url, logger: silent, settings: { query_timeout: 300 } });
    const rows = rowsAt(NOW, 1000);
    const holder = await openTransaction(database.pool, "LOCK TABLE incoming");
    const patient = sink;
    sink = new PostgresSink({ pool: impatient, prepare: async () => {}, logger });
    expect((await failureOf(write(rows), "transient")).message).toBe("Query read timeout");
    await closePool(impatient);
    await holder[Symbol.asyncDispose]();
    sink = patient;
    expect(await write(rows, { attempt: 2 })).toEqual({ inserted: 1000, duplicates: 0, dead: 0 });
    expect(await idsIn("incoming")).toEqual(idsOf(rows));
  });

  it("leaves a connection whose server is read-only for a new one, which may reach another server", async () => {
    const name = new URL(database.url).pathname.slice(1);
    const rows = rowsAt(NOW, 10);
    await execute(`ALTER DATABASE ${name} SET default_transaction_read_only = on`);
    expect((await failureOf(write(rows), "transient")).code).toBe("25006");
    // Open sessions stay read-only, like those with a server that was the primary before.
    await execute(`ALTER DATABASE ${name} SET default_transaction_read_only = off`);
    expect(await write(rows, { attempt: 2 })).toMatchObject({ inserted: 10 });
  });

  it("begins no write that is aborted already", async () => {
    await failureOf(write(rowsAt(NOW, 1), { signal: AbortSignal.abort(new Error("too late")) }), "transient");
    expect(statements).toBe(0);
  });
});

describe("PostgresSink, with a database that is slow", () => {
  /** Has statements with more rows than this take longer than they may. */
  async function bearUpTo(rows: number): Promise<void> {
    await execute(
      `CREATE FUNCTION tire() RETURNS trigger LANGUAGE plpgsql AS $$
       DECLARE n integer := coalesce(nullif(current_setting('test.rows', true), ''), '0')::integer + 1;
       BEGIN
         PERFORM set_config('test.rows', n::text, true), pg_sleep(CASE WHEN n > ${rows} THEN 600 ELSE 0 END);
         RETURN NEW;
       END $$`,
      "CREATE TRIGGER tire BEFORE INSERT ON incoming FOR EACH ROW EXECUTE FUNCTION tire()",
    );
    await closePool(pool);
    pool = countingPool(database.url, 500);
    sink = new PostgresSink({ pool, prepare: async () => {}, logger });
  }

  it("writes a batch that takes too long in halves, and tries no part that is as large again", async () => {
    await bearUpTo(300);
    const rows = rowsAt(NOW, 1000);
    expect(await write(rows)).toEqual({ inserted: 1000, duplicates: 0, dead: 0 });
    expect(await idsIn("incoming")).toEqual(idsOf(rows));
    // Of 1,000 and of 500 rows, in vain, and four of 250.
    expect(statements).toBe(6);
    expect(log.at(-1)).toContain("PostgreSQL took too long for a batch; it is written in halves");
  });

  it("does so with duplicates, too", async () => {
    const rows = rowsAt(NOW, 1000);
    await write(rows.slice(0, 1));
    await bearUpTo(300);
    expect(await write(rows)).toEqual({ inserted: 999, duplicates: 1, dead: 0 });
  });

  it("calls it transient when a few rows take too long, too: they wait for something", async () => {
    await bearUpTo(0);
    expect((await failureOf(write(rowsAt(NOW, 150)), "transient")).code).toBe("57014");
    expect(await idsIn("incoming")).toEqual([]);
    expect(statements).toBe(2);
  });
});

describe("PostgresSink, when it does not know the fault", () => {
  it("keeps the batch for five tries, and blames the row then", async () => {
    await raise("XX000");
    const rows = spoil(rowsAt(NOW, 100), 42);
    for (const attempt of [1, 2, 3, 4, 5]) {
      expect((await failureOf(write(rows, { attempt }), "unknown")).code).toBe("XX000");
    }
    expect(await idsIn("incoming")).toEqual([]);
    expect(await write(rows, { attempt: 6 })).toMatchObject({ inserted: 99, duplicates: 0, dead: 1 });
    const { rows: dead } = await database.pool.query(
      "SELECT id, sqlstate, message, attempts FROM incoming_dead",
    );
    expect(dead).toEqual([{ id: rows[42]?.id, sqlstate: "XX000", message: "odd", attempts: 6 }]);
  });

  it("blames the schema when over half of the batch is at fault, and no row", async () => {
    await raise("XX000");
    const rows = spoil(rowsAt(NOW, 10), 0, 1, 2, 3, 4, 5);
    const fault = await failureOf(write(rows, { attempt: 6 }), "schema");
    expect(fault).toMatchObject({ code: "XX000", message: "most rows of a batch fail: odd" });
    expect(await idsIn("incoming_dead")).toEqual([]);
    await afterRepair();
    expect(await write(rows, { attempt: 7 })).toEqual({ inserted: 6, duplicates: 4, dead: 0 });
  });

  it("blames a row that is alone in its batch: it would keep all others from being written", async () => {
    await raise("XX000");
    const rows = spoil(rowsAt(NOW, 1), 0);
    await failureOf(write(rows, { attempt: 5 }), "unknown");
    expect(await write(rows, { attempt: 6 })).toMatchObject({ inserted: 0, duplicates: 0, dead: 1 });
  });

  it("blames the rows when it is half of the batch", async () => {
    await raise("XX000");
    const rows = spoil(rowsAt(NOW, 10), 0, 2, 4, 6, 8);
    expect(await write(rows, { attempt: 6 })).toMatchObject({ inserted: 5, duplicates: 0, dead: 5 });
  });
});
