/** Reads the dead letters and gives them another chance; it never makes one. */
import type { Pool, PoolClient } from "pg";
import { insertNewRows } from "../postgres/incoming-table.js";
import { inTransaction } from "../postgres/pool.js";
import { classifyFault } from "../postgres/sqlstate.js";
import { messageOf } from "../util/error-message.js";

/** A dead letter as an operator sees it. What its table refused too is null. */
export interface DeadLetterSummary {
  readonly id: string;
  readonly property: string | null;
  /** Whole number, as text. */
  readonly section: string | null;
  /** Whole number, as text. */
  readonly item: string | null;
  readonly sqlstate: string;
  readonly message: string;
  readonly attempts: number;
  readonly diedAt: Date;
}

const LIST = `
  SELECT id, property, property_section::text AS section, property_id::text AS item, sqlstate, message, attempts,
    extract(epoch FROM died_at)::float8 * 1000 AS "diedAt"
  FROM incoming_dead ORDER BY died_at DESC, id LIMIT $1`;

/** The newest dead letters, at most `limit`, newest first. */
export async function listDeadLetters(pool: Pool, limit: number): Promise<DeadLetterSummary[]> {
  const { rows } = await pool.query<Omit<DeadLetterSummary, "diedAt"> & { diedAt: number }>(LIST, [limit]);
  return rows.map((row) => ({ ...row, diedAt: new Date(row.diedAt) }));
}

/** How a replay went; the three counts add up to the letters that were tried. */
export interface DeadLetterReplay {
  /** Now in `incoming`. */
  replayed: number;
  /** Were in `incoming` already: pushed again since, with the same id. */
  duplicates: number;
  /** Refused again, and kept. */
  refused: number;
  /** PostgreSQL's words for the first refusal. */
  firstRefusal: string | undefined;
  /** The ids that were asked for and that no letter has. */
  missing: string[];
}

type Counts = Omit<DeadLetterReplay, "missing">;

const PAGE_ROWS = 500;
const PAGE = `
  SELECT id, payload FROM incoming_dead
  WHERE id > $1 AND ($2::uuid[] IS NULL OR id = ANY ($2)) ORDER BY id LIMIT ${PAGE_ROWS}`;
const LOWEST_ID = "00000000-0000-0000-0000-000000000000";

/**
 * Moves dead letters to `incoming`, each in a transaction of its own: those with the given ids, UUIDs in their
 * 36-character form, or all. Rejects with PostgreSQL's error when the schema or the connection is at fault; what was
 * moved by then stays moved.
 */
export async function replayDeadLetters(
  pool: Pool,
  ids: readonly string[] | undefined,
): Promise<DeadLetterReplay> {
  const missing = new Set(ids?.map((id) => id.toLowerCase()));
  const result: Counts = { replayed: 0, duplicates: 0, refused: 0, firstRefusal: undefined };
  const client = await pool.connect();
  try {
    for (let after = LOWEST_ID; ; ) {
      const { rows } = await client.query<{ id: string; payload: Buffer }>(PAGE, [after, ids ?? null]);
      for (const { id, payload } of rows) {
        await replayOne(client, id, payload, result);
        missing.delete(id);
        after = id;
      }
      if (rows.length < PAGE_ROWS) {
        return { ...result, missing: [...missing] };
      }
    }
  } finally {
    client.release();
  }
}

async function replayOne(client: PoolClient, id: string, payload: Buffer, result: Counts): Promise<void> {
  try {
    const inserted = await inTransaction(client, async () => {
      const rows = await insertNewRows(client, payload);
      await client.query("DELETE FROM incoming_dead WHERE id = $1", [id]);
      return rows;
    });
    result.replayed += inserted;
    result.duplicates += 1 - inserted;
  } catch (error) {
    const faultClass = classifyFault(error);
    if (faultClass === "transient" || faultClass === "schema") {
      throw error;
    }
    result.refused += 1;
    result.firstRefusal ??= messageOf(error);
  }
}
