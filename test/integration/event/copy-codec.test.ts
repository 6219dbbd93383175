import fc from "fast-check";
import type { PoolClient } from "pg";
import { copyTuples, insertNewRows } from "../../../src/postgres/incoming-table.js";
import { anyRow, canonicalIp } from "../../support/arbitraries.js";
import type { TestDatabase } from "../../support/database.js";
import type { IncomingRow } from "../../support/decoded.js";
import { encodeBatch, encodeRow, row, rowsAt, uuidv7At } from "../../support/encoded.js";
import { createStatsDatabase } from "../../support/stats-database.js";

const NOW = Date.UTC(2026, 0, 15, 12);

let database: TestDatabase;
let client: PoolClient;

beforeAll(async () => {
  database = await createStatsDatabase();
  client = await database.pool.connect();
});

afterAll(async () => {
  client.release();
  await database.close();
});

beforeEach(async () => {
  await client.query("TRUNCATE incoming");
});

interface Selected {
  readonly id: string;
  readonly property: string;
  readonly section: string;
  readonly item: string;
  readonly ip: string | null;
  readonly stamp: string;
}

/** All of `incoming`, as PostgreSQL prints it, to the microsecond. */
async function select(): Promise<IncomingRow[]> {
  const { rows } = await client.query<Selected>(
    `SELECT id, property, property_section AS section, property_id AS item, remote_ip AS ip,
       to_char(stamp AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US') AS stamp
     FROM incoming ORDER BY id`,
  );
  return rows.map(({ id, property, section, item, ip, stamp }) => {
    expect(stamp.slice(-3)).toBe("000");
    return {
      id,
      property,
      section: Number(section),
      itemId: Number(item),
      remoteIp: ip === null ? null : canonicalIp(ip),
      stampMs: Date.parse(`${stamp.slice(0, -3)}Z`),
    };
  });
}

function insertNew(...rows: readonly IncomingRow[]): Promise<number> {
  return insertNewRows(client, Buffer.concat(rows.map(encodeRow)));
}

const inOrder = (rows: readonly IncomingRow[]) => rows.toSorted((a, b) => (a.id < b.id ? -1 : 1));

describe.each([
  [
    "copyTuples",
    (rows: readonly IncomingRow[], chunkBytes: number) =>
      copyTuples(client, encodeBatch(rows, chunkBytes).chunks),
  ],
  ["insertNewRows", (rows: readonly IncomingRow[]) => insertNew(...rows)],
])("%s", (_, write) => {
  it("puts into the table what was pushed, for any legal events from any address", async () => {
    const batch = fc.uniqueArray(anyRow(), { selector: ({ id }) => id, minLength: 1, maxLength: 100 });
    const chunkBytes = fc.constantFrom(118, 1000, 64 * 1024);
    await fc.assert(
      fc.asyncProperty(batch, chunkBytes, async (rows, size) => {
        await client.query("TRUNCATE incoming");
        await write(rows, size);
        expect(await select()).toEqual(inOrder(rows));
      }),
      { numRuns: 50, endOnFailure: true },
    );
  });
});

describe("copyTuples", () => {
  it("writes the stamp that is in the id", async () => {
    await copyTuples(client, encodeBatch([row("01890a5d-ac96-774b-bcce-b302099a8057")]).chunks);
    const { rows } = await client.query("SELECT stamp FROM incoming");
    expect(rows).toEqual([{ stamp: new Date(0x01890a5dac96) }]);
  });

  it("takes all rows or, with PostgreSQL's error, none, and leaves the connection usable", async () => {
    const rows = rowsAt(NOW, 1000);
    const twice = [...rows, row(uuidv7At(NOW, 500))];
    await expect(copyTuples(client, encodeBatch(twice).chunks)).rejects.toMatchObject({ code: "23505" });
    expect(await select()).toEqual([]);
    await copyTuples(client, encodeBatch(rows).chunks);
    expect(await select()).toEqual(rows);
  });

  it("rejects when the bytes are not tuples", async () => {
    const tuples = Buffer.concat(encodeBatch(rowsAt(NOW, 2)).chunks);
    await expect(copyTuples(client, [tuples.subarray(0, 100)])).rejects.toMatchObject({ code: "22P04" });
    expect(await select()).toEqual([]);
  });
});

describe("insertNewRows", () => {
  it("skips the rows whose ids are there, leaves those as they are, and counts the new ones", async () => {
    const [first, second, third] = rowsAt(NOW, 3) as [IncomingRow, IncomingRow, IncomingRow];
    expect(await insertNew(first, second)).toBe(2);
    const changed = { ...second, property: "shop", itemId: 7 };
    expect(await insertNew(changed, third, third)).toBe(1);
    expect(await select()).toEqual([first, second, third]);
  });
});
