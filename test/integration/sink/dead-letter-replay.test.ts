import type { PoolClient } from "pg";
import { replayDeadLetters } from "../../../src/sink/dead-letter-replay.js";
import { type DeadLetter, insertDeadLetters } from "../../../src/sink/dead-letters.js";
import type { TestDatabase } from "../../support/database.js";
import { encodeRow, rowsAt } from "../../support/encoded.js";
import { createStatsDatabase } from "../../support/stats-database.js";

const NOW = Date.UTC(2026, 2, 3, 12);

let database: TestDatabase;

beforeEach(async () => {
  database = await createStatsDatabase();
});

afterEach(async () => {
  await database.close();
});

/** Makes dead letters, and returns their ids in order. The one at `badPlace` has the property `bad`. */
async function bury(count: number, badPlace: number): Promise<string[]> {
  const rows = rowsAt(NOW, count);
  const letters = rows.map((each, i): DeadLetter => {
    const row = { ...each, property: i === badPlace ? "bad" : each.property };
    return { payload: encodeRow(row), sqlstate: "23514", message: "refused" };
  });
  const client: PoolClient = await database.pool.connect();
  try {
    await insertDeadLetters(client, letters, 1);
  } finally {
    client.release();
  }
  return rows.map(({ id }) => id);
}

/** Has a trigger refuse rows with the property `bad`. */
async function refuseBad(sqlstate: string): Promise<void> {
  await database.pool.query(
    `CREATE FUNCTION on_bad() RETURNS trigger LANGUAGE plpgsql AS $$
     BEGIN
       IF NEW.property = 'bad' THEN RAISE EXCEPTION 'odd' USING ERRCODE = '${sqlstate}'; END IF;
       RETURN NEW;
     END $$`,
  );
  await database.pool.query(
    "CREATE TRIGGER on_bad BEFORE INSERT ON incoming FOR EACH ROW EXECUTE FUNCTION on_bad()",
  );
}

async function idsIn(table: "incoming" | "incoming_dead"): Promise<string[]> {
  const { rows } = await database.pool.query<{ id: string }>(`SELECT id FROM ${table} ORDER BY id`);
  return rows.map(({ id }) => id);
}

describe("replayDeadLetters", () => {
  it.each(["P0001", "XX000"])("keeps what is refused again with %s, and goes on", async (sqlstate) => {
    const [bad, ...others] = await bury(3, 0);
    await refuseBad(sqlstate);
    expect(await replayDeadLetters(database.pool, undefined)).toEqual({
      replayed: 2,
      duplicates: 0,
      refused: 1,
      firstRefusal: "odd",
      missing: [],
    });
    expect(await idsIn("incoming")).toEqual(others);
    expect(await idsIn("incoming_dead")).toEqual([bad]);
  });

  it("ends at a fault of the schema, and keeps all letters", async () => {
    const ids = await bury(3, 0);
    await refuseBad("42P01");
    await expect(replayDeadLetters(database.pool, undefined)).rejects.toThrow("odd");
    expect(await idsIn("incoming_dead")).toEqual(ids);
  });

  it("tries those with the given ids, and names the ids that no letter has", async () => {
    const [first, ...others] = await bury(3, 1);
    const unknown = "019d0000-0000-7000-8000-000000000000";
    const ids = [`${first}`.toUpperCase(), unknown];
    expect(await replayDeadLetters(database.pool, ids)).toMatchObject({ replayed: 1, missing: [unknown] });
    expect(await idsIn("incoming_dead")).toEqual(others);
  });
});
