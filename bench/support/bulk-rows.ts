/** The rows that the benchmarks of bulk loading write, and what PostgreSQL's own client makes of them. */
import { createWriteStream } from "node:fs";
import { finished } from "node:stream/promises";
import type { Pool } from "pg";
import { EventIds } from "../../src/event/event-id.js";
import { encodeInet } from "../../src/event/inet.js";
import {
  COPY_HEADER,
  COPY_TRAILER,
  INCOMING_COLUMNS,
  TUPLE_MAX_BYTES,
  writeTuple,
} from "../../src/event/tuple-codec.js";
import type { AdmittedEvent } from "../../src/ingest/batch.js";
import { systemClock } from "../../src/util/clock.js";
import { runPsql } from "./database.js";

const BLOCK_ROWS = 10_000;

/** The same events each time: only the ids are made anew. Each is to be used before the next is taken. */
export function* bulkEvents(rows: number): Generator<AdmittedEvent> {
  const ids = new EventIds({ now: () => systemClock.now() });
  const inet = encodeInet("127.0.0.1");
  const id = new Uint8Array(16);
  for (let i = 0; i < rows; i++) {
    ids.next(id);
    yield { id, property: "news", section: 1 + (i % 100), itemId: 1 + i, inet };
  }
}

/** Writes those events to a file for COPY (FORMAT binary). */
export async function writeCopyFile(path: string, rows: number): Promise<void> {
  const file = createWriteStream(path);
  file.write(COPY_HEADER);
  const tuple = Buffer.alloc(TUPLE_MAX_BYTES);
  let block: Buffer[] = [];
  for (const { id, property, section, itemId, inet } of bulkEvents(rows)) {
    block.push(Buffer.from(tuple.subarray(0, writeTuple(tuple, 0, id, property, section, itemId, inet))));
    if (block.length === BLOCK_ROWS) {
      file.write(Buffer.concat(block));
      block = [];
    }
  }
  file.end(Buffer.concat([...block, COPY_TRAILER]));
  await finished(file);
}

/** Milliseconds that psql takes to load such a file into `incoming` by \copy. */
export async function timePsql(url: string, path: string): Promise<number> {
  const startedAt = performance.now();
  await runPsql(url, `\\copy incoming (${INCOMING_COLUMNS.join(", ")}) FROM '${path}' (FORMAT binary)`);
  return performance.now() - startedAt;
}

/** Empties `incoming`, so that each round starts alike. */
export async function emptyTable(pool: Pool): Promise<void> {
  await pool.query("TRUNCATE incoming");
  await pool.query("CHECKPOINT");
}

/** Rows in `incoming`. */
export async function countRows(pool: Pool): Promise<number> {
  const result = await pool.query<{ count: string }>("SELECT count(*) FROM incoming");
  return Number(result.rows[0]?.count);
}

/** Fails when `incoming` does not have that many rows: the figure is void then. */
export async function verifyRows(pool: Pool, rows: number): Promise<void> {
  const count = await countRows(pool);
  if (count !== rows) {
    throw new Error(`void: ${count} rows in the table, not ${rows}`);
  }
}
