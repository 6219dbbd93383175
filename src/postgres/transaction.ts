/** Runs several statements as one transaction; it never tries one again. */
import type { PoolClient } from "pg";

/** What `work` gives, once it is committed. When it rejects, nothing of it has happened. */
export async function inTransaction<T>(client: PoolClient, work: () => Promise<T>): Promise<T> {
  await client.query("BEGIN");
  try {
    const result = await work();
    await client.query("COMMIT");
    return result;
  } catch (error) {
    await client.query("ROLLBACK").catch(() => undefined);
    throw error;
  }
}
