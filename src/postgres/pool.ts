/** The connections to PostgreSQL: opens and ends them, with a deadline on every wait; and transactions on them. */
import { Pool, type PoolClient, type PoolConfig } from "pg";
import type { Logger } from "pino";
import { READ_ONLY_TRANSACTION, sqlstateOf } from "./sqlstate.js";

export interface PoolOptions {
  /** `postgres://` URL. */
  readonly url: string;
  readonly logger: Logger;
  /** Further settings of `pg`'s, over ours. Default: none. */
  readonly settings?: PoolConfig;
}

/** One for the flusher, one for the replay of the buffer, one for upkeep, one to spare. */
const MAX_CONNECTIONS = 4;
const CONNECT_TIMEOUT_MS = 5_000;
const IDLE_TIMEOUT_MS = 60_000;
/** PostgreSQL ends a statement by itself after this time, a little before we stop waiting for it. */
const STATEMENT_TIMEOUT_MS = 28_000;
/** The longest that we wait for the answer to a statement; PostgreSQL may be out of reach. */
const ANSWER_TIMEOUT_MS = 30_000;
const CLOSE_TIMEOUT_MS = 3_000;

/**
 * What a session is to be, whatever the server, the database or the role say. Dates are in the form that `pg` reads. An
 * answer of DURABLE stands for a commit that is on the disk; more than that stays, and it is set even then, for what a
 * session has set a reload of the server's settings does not change. No transaction_timeout, which PostgreSQL has from 17
 * on: it ends the session, and so leaves none on which a batch that takes too long could be written in halves.
 */
const SESSION = {
  text: `SELECT set_config('datestyle', 'ISO', false),
    CASE WHEN current_setting('transaction_timeout', true) IS NOT NULL
      THEN set_config('transaction_timeout', '0', false) END,
    set_config('synchronous_commit', coalesce(nullif(current_setting('synchronous_commit'), 'off'), 'local'), false)`,
  query_timeout: CONNECT_TIMEOUT_MS,
};

/** A pool whose connections can break at any time without ending the process. */
export function createPool({ url, logger, settings }: PoolOptions): Pool {
  const pool = new Pool({
    connectionString: url,
    max: MAX_CONNECTIONS,
    connectionTimeoutMillis: CONNECT_TIMEOUT_MS,
    idleTimeoutMillis: IDLE_TIMEOUT_MS,
    statement_timeout: STATEMENT_TIMEOUT_MS,
    query_timeout: ANSWER_TIMEOUT_MS,
    keepAlive: true,
    application_name: "stats-service",
    // The types of `pg` do not know that it waits for this.
    // oxlint-disable-next-line typescript/no-misused-promises
    onConnect: (client) => client.query(SESSION),
    ...settings,
  });
  pool.on("error", (error) => {
    logger.warn({ reason: error.message }, "an idle database connection broke");
  });
  // Once for each connection: the pool hands out the same client again and again.
  pool.on("connect", (client) => {
    client.on("error", (error) => logger.debug({ reason: error.message }, "a database connection broke"));
  });
  return pool;
}

/** Ends all connections; gives up waiting for a peer that does not answer. */
export async function closePool(pool: Pool): Promise<void> {
  if (pool.ended || pool.ending) {
    return;
  }
  let timer: NodeJS.Timeout | undefined;
  const deadline = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, CLOSE_TIMEOUT_MS);
  });
  await Promise.race([pool.end(), deadline]);
  clearTimeout(timer);
}

/**
 * Runs `work` on a connection of its own. When `signal` aborts, the connection is cut, and the call rejects with
 * the signal's reason without waiting for the peer.
 */
export async function withConnection<T>(
  pool: Pool,
  signal: AbortSignal,
  work: (client: PoolClient) => Promise<T>,
): Promise<T> {
  const client = await connect(pool, signal);
  let broken: Error | undefined;
  try {
    return await orAborted(signal, () => work(client));
  } catch (error) {
    broken = signal.aborted || !isStatementError(error) || isReadOnly(error) ? asError(error) : undefined;
    throw error;
  } finally {
    client.release(broken);
  }
}

/** The statement failed, the connection is sound: PostgreSQL itself told us so, and not on its way out. */
function isStatementError(error: unknown): boolean {
  return (error as { severity?: unknown }).severity === "ERROR";
}

/** Behind an address that follows the primary, only a new connection comes to the server that is it now. */
function isReadOnly(error: unknown): boolean {
  return sqlstateOf(error) === READ_ONLY_TRANSACTION;
}

function asError(error: unknown): Error {
  return error instanceof Error ? error : new Error(String(error));
}

/** Gives a connection back that comes when nobody waits for it any more. */
async function connect(pool: Pool, signal: AbortSignal): Promise<PoolClient> {
  const connecting = pool.connect();
  try {
    return await orAborted(signal, () => connecting);
  } catch (error) {
    connecting.then(
      (client) => client.release(),
      () => undefined,
    );
    throw error;
  }
}

/** What `work` gives, or the signal's reason as soon as it aborts. */
export async function orAborted<T>(signal: AbortSignal, work: () => Promise<T>): Promise<T> {
  signal.throwIfAborted();
  let onAbort: (() => void) | undefined;
  const aborted = new Promise<never>((_, reject) => {
    onAbort = () => reject(asError(signal.reason));
    signal.addEventListener("abort", onAbort, { once: true });
  });
  const running = work();
  // Once aborted, nobody listens to the work any more; its connection is cut, so it will reject.
  running.catch(() => undefined);
  try {
    return await Promise.race([running, aborted]);
  } finally {
    if (onAbort !== undefined) {
      signal.removeEventListener("abort", onAbort);
    }
  }
}

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
