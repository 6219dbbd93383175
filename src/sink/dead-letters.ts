/** The rows that `incoming` refuses, kept in `incoming_dead`; it never decides that a row is dead. */
import type { PoolClient } from "pg";
import { columnArrays, INCOMING_COLUMNS } from "../event/tuple-codec.js";
import { inTransaction } from "../postgres/pool.js";
import { classifyFault } from "../postgres/sqlstate.js";

/** A row that PostgreSQL refused, and what it said. */
export interface DeadLetter {
  /** The row's tuple in the binary COPY format. */
  readonly payload: Buffer;
  /** Empty when the fault had no code. */
  readonly sqlstate: string;
  readonly message: string;
}

const INSERT = `
  INSERT INTO incoming_dead (${INCOMING_COLUMNS.join(", ")}, payload, sqlstate, message, attempts)
  SELECT *, $10::integer FROM unnest($1::uuid[], $2::text[], $3::bigint[], $4::bigint[], $5::inet[],
    $6::timestamptz[], $7::bytea[], $8::text[], $9::text[])
  ON CONFLICT (id) DO NOTHING`;

/** Keeps dead letters. Writing one again has no effect. */
export async function insertDeadLetters(
  client: PoolClient,
  letters: readonly DeadLetter[],
  attempts: number,
): Promise<void> {
  const columns = columnArrays(Buffer.concat(letters.map(({ payload }) => payload)));
  try {
    await insert(client, parameters(columns, letters, attempts));
  } catch (error) {
    if (classifyFault(error) !== "row") {
      throw error;
    }
    // What made `incoming` refuse a value may make this table refuse it too: then the payload must do.
    const blank = columns.map((column, i) => (i === 0 ? column : null));
    await insert(client, parameters(blank, letters, attempts));
  }
}

async function insert(client: PoolClient, values: unknown[]): Promise<void> {
  await inTransaction(client, () => client.query(INSERT, values));
}

function parameters(
  columns: readonly unknown[],
  letters: readonly DeadLetter[],
  attempts: number,
): unknown[] {
  return [
    ...columns,
    letters.map(({ payload }) => payload),
    letters.map(({ sqlstate }) => sqlstate),
    letters.map(({ message }) => message),
    attempts,
  ];
}
