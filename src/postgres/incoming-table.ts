/** The two statements that write to `incoming`; they never retry and never classify a fault. */
import type { PoolClient } from "pg";
import { COPY_HEADER, COPY_TRAILER, columnArrays, INCOMING_COLUMNS } from "../event/tuple-codec.js";
import { CopyIn } from "./copy-in.js";
import { asTransaction } from "./pool.js";

const COLUMNS = INCOMING_COLUMNS.join(", ");
const COPY = `COPY incoming (${COLUMNS}) FROM STDIN (FORMAT binary)`;
const INSERT_NEW = `
  INSERT INTO incoming (${COLUMNS})
  SELECT * FROM unnest($1::uuid[], $2::text[], $3::bigint[], $4::bigint[], $5::inet[], $6::timestamptz[])
  ON CONFLICT (id) DO NOTHING`;

/**
 * Writes encoded tuples by one COPY, a transaction by itself, which takes all of them or, rejecting with PostgreSQL's
 * error, none. Returns how many rows are in the table then: fewer if a trigger drops some.
 */
export async function copyTuples(client: PoolClient, chunks: readonly Uint8Array[]): Promise<number> {
  const copy = new CopyIn(asTransaction(client, COPY), [COPY_HEADER, ...chunks, COPY_TRAILER]);
  client.query(copy);
  return await copy.done;
}

/** Writes the rows whose ids are not in the table yet out of encoded tuples, in the transaction that is open, and returns how many those were. */
export async function insertNewRows(client: PoolClient, tuples: Buffer): Promise<number> {
  const result = await client.query(INSERT_NEW, columnArrays(tuples));
  return result.rowCount ?? 0;
}
