/**
 * The day partitions of `incoming`: names them, computes their bounds and makes those that are missing; it never
 * drops one.
 */
import type { Pool, PoolClient } from "pg";

export const DAY_MS = 24 * 60 * 60 * 1000;

/** A day of `incoming`, in UTC. */
export interface DayPartition {
  /** Name of the table, for example `incoming_20261124`. */
  readonly name: string;
  /** First id of the day, a UUID in its 36-character form. */
  readonly from: string;
  /** First id of the next day. */
  readonly to: string;
}

/** The partition of the day in which `timeMs` (Unix milliseconds) lies. */
export function dayPartition(timeMs: number): DayPartition {
  const dayStartMs = Math.floor(timeMs / DAY_MS) * DAY_MS;
  const day = new Date(dayStartMs).toISOString().slice(0, 10).replaceAll("-", "");
  return { name: `incoming_${day}`, from: lowestIdAt(dayStartMs), to: lowestIdAt(dayStartMs + DAY_MS) };
}

/** The lowest UUID with the time `timeMs` in its first 48 bits, lower than each UUIDv7 of that millisecond. */
function lowestIdAt(timeMs: number): string {
  const hex = timeMs.toString(16).padStart(12, "0");
  return `${hex.slice(0, 8)}-${hex.slice(8)}-0000-0000-000000000000`;
}

/** The lock on `incoming` must not make the flusher queue behind us for long. */
const LOCK_TIMEOUT_MS = 2_000;

/**
 * Makes the partitions for the days from `daysBehind` before `nowMs` to `daysAhead` after, where missing, and
 * returns the names of those made. Rows that lie in the default partition for want of theirs are moved over.
 */
export async function createPartitions(
  pool: Pool,
  nowMs: number,
  { daysBehind, daysAhead }: { daysBehind: number; daysAhead: number },
): Promise<string[]> {
  const wanted: DayPartition[] = [];
  for (let day = -daysBehind; day <= daysAhead; day++) {
    wanted.push(dayPartition(nowMs + day * DAY_MS));
  }
  const { rows } = await pool.query<{ name: string }>(
    "SELECT inhrelid::regclass::text AS name FROM pg_inherits WHERE inhparent = 'incoming'::regclass",
  );
  const existing = new Set(rows.map(({ name }) => name));
  const missing = wanted.filter(({ name }) => !existing.has(name));
  if (missing.length === 0) {
    return [];
  }
  const client = await pool.connect();
  let failure: Error | undefined;
  try {
    for (const partition of missing) {
      await createPartition(client, partition);
    }
  } catch (error) {
    failure = error instanceof Error ? error : new Error(String(error));
    throw error;
  } finally {
    client.release(failure);
  }
  return missing.map(({ name }) => name);
}

/**
 * Made on the side, filled from the default partition, then attached: PostgreSQL refuses a partition whose rows
 * lie in the default one. The locks come first, the strongest at once, so that no row slips in between and no lock
 * is raised later, which could deadlock.
 */
async function createPartition(client: PoolClient, { name, from, to }: DayPartition): Promise<void> {
  await client.query("BEGIN");
  try {
    await client.query(`SET LOCAL lock_timeout = ${LOCK_TIMEOUT_MS}`);
    await client.query("LOCK TABLE ONLY incoming IN SHARE ROW EXCLUSIVE MODE");
    await client.query("LOCK TABLE incoming_default IN ACCESS EXCLUSIVE MODE");
    // Another service may have made it while we waited for the lock.
    const { rows } = await client.query("SELECT 1 FROM pg_class WHERE oid = to_regclass($1)", [name]);
    if (rows.length === 0) {
      await client.query(`CREATE TABLE ${name} (LIKE incoming INCLUDING ALL)`);
      await client.query(
        `WITH moved AS (DELETE FROM incoming_default WHERE id >= '${from}' AND id < '${to}' RETURNING *)
         INSERT INTO ${name} SELECT * FROM moved`,
      );
      await client.query(
        `ALTER TABLE incoming ATTACH PARTITION ${name} FOR VALUES FROM ('${from}') TO ('${to}')`,
      );
    }
    await client.query("COMMIT");
  } catch (error) {
    await client.query("ROLLBACK").catch(() => undefined);
    throw error;
  }
}
