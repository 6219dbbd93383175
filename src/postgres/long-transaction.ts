/** Statements that may take longer than the pool lets others: each has a time of its own, and PostgreSQL knows it. */
import type { PoolClient, QueryResult, QueryResultRow } from "pg";
import { inTransaction, type TransactionOptions } from "./pool.js";

/** Runs one statement with the time that its transaction has for each. `name`: its plan is kept under this name. */
export type LongQuery = <R extends QueryResultRow>(
  text: string,
  values?: unknown[],
  name?: string,
) => Promise<QueryResult<R>>;

/** For PostgreSQL to say itself that a statement took too long. */
const ANSWER_GRACE_MS = 5_000;

/** As {@link inTransaction}, with statements that may each take `timeoutMs`, longer than the pool lets others. */
export function inLongTransaction<T>(
  client: PoolClient,
  timeoutMs: number,
  work: (query: LongQuery) => Promise<T>,
  { mode, settings }: TransactionOptions = {},
): Promise<T> {
  return inTransaction(client, () => work(longQuery(client, timeoutMs)), {
    ...(mode !== undefined && { mode }),
    settings: { ...settings, statement_timeout: timeoutMs },
  });
}

/** Waits as long for the answer as PostgreSQL has been told to work on it. */
function longQuery(client: PoolClient, timeoutMs: number): LongQuery {
  return <R extends QueryResultRow>(text: string, values: unknown[] = [], name?: string) => {
    // The types of `pg` do not know that a statement may have a time of its own.
    const statement = { text, values, ...(name && { name }), query_timeout: timeoutMs + ANSWER_GRACE_MS };
    return client.query<R>(statement);
  };
}
