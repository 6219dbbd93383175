/** The connections to PostgreSQL: opens and ends them, with a deadline on every wait; and transactions on them. */
import { type ClientBase, Pool, type PoolClient, type PoolConfig } from "pg";
import type { Logger } from "pino";
import { messageOf } from "../util/error-message.js";
import { parseConnectionString } from "./connection-string.js";
import { clientConfig, databaseClient } from "./database-client.js";
import { READ_ONLY_TRANSACTION, sqlstateOf } from "./sqlstate.js";

export interface PoolOptions {
  /** `postgres://` URL. */
  readonly url: string;
  readonly logger: Logger;
  /** Longest time of a statement in a transaction, in milliseconds. Default: a little less than the wait for its answer. */
  readonly statementTimeoutMs?: number;
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
 * What a transaction is to be, whatever the server, the database or the role say. It is set for each transaction and not
 * for the session: a pooler such as PgBouncer hands another session to each transaction, and takes no settings at connect.
 *
 * Texts are in the form that we read. An answer of DURABLE stands for a commit that is on the disk; more than that stays.
 * No transaction_timeout, which PostgreSQL has from 17 on: it ends the session, and so leaves none on which a batch that
 * takes too long could be written in halves.
 */
export function transactionSettings(client: ClientBase): string {
  const timeoutMs = statementTimeouts.get(client) ?? STATEMENT_TIMEOUT_MS;
  return `SELECT set_config('statement_timeout', '${timeoutMs}', true),
    set_config('datestyle', 'ISO', true), set_config('quote_all_identifiers', 'off', true),
    CASE WHEN current_setting('transaction_timeout', true) IS NOT NULL
      THEN set_config('transaction_timeout', '0', true) END,
    set_config('synchronous_commit', coalesce(nullif(current_setting('synchronous_commit'), 'off'), 'local'), true)`;
}

/** Of the connections whose pool has a time-out of its own, in milliseconds. */
const statementTimeouts = new WeakMap<ClientBase, number>();

/**
 * A statement without parameters as a transaction of one message, so of one journey to the server. PostgreSQL undoes it by
 * itself when the statement fails. To be sent as a simple query.
 */
export function asTransaction(client: ClientBase, statement: string): string {
  return `${transactionSettings(client)};\n${statement}`;
}

/** A pool whose connections can break at any time without ending the process. */
export function createPool({ url, logger, statementTimeoutMs, settings }: PoolOptions): Pool {
  const target = parseConnectionString(url);
  const timeoutMs = target.connectTimeoutMs ?? CONNECT_TIMEOUT_MS;
  const pool = new Pool({
    ...clientConfig(target),
    Client: databaseClient(target),
    max: MAX_CONNECTIONS,
    connectionTimeoutMillis: timeoutMs * target.servers.length,
    idleTimeoutMillis: IDLE_TIMEOUT_MS,
    query_timeout: ANSWER_TIMEOUT_MS,
    keepAlive: true,
    ...settings,
  });
  pool.on("error", (error) => {
    logger.warn({ reason: error.message }, "an idle database connection broke");
  });
  // Once for each connection: the pool hands out the same client again and again.
  pool.on("connect", (client) => {
    if (statementTimeoutMs !== undefined) {
      statementTimeouts.set(client, statementTimeoutMs);
    }
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
export async function inTransaction<T>(
  client: PoolClient,
  work: () => Promise<T>,
  options: TransactionOptions = {},
): Promise<T> {
  await beginTransaction(client, options);
  try {
    const result = await work();
    await client.query("COMMIT");
    return result;
  } catch (error) {
    await rollBack(client, error);
    throw error;
  }
}

/** How a transaction differs from others. */
export interface TransactionOptions {
  /** SQL for BEGIN, for example `ISOLATION LEVEL REPEATABLE READ`. Default: none. */
  readonly mode?: string;
  /** Settings over those that all transactions have. Default: none. */
  readonly settings?: Readonly<Record<string, string | number>>;
}

/** Begins a transaction that is as it must be whatever the server says. */
export async function beginTransaction(
  client: PoolClient,
  { mode = "", settings = {} }: TransactionOptions = {},
): Promise<void> {
  const own = Object.entries(settings).map(([name, value]) => `SET LOCAL ${name} = '${value}'`);
  await client.query([`BEGIN ${mode}`, transactionSettings(client), ...own].join(";\n"));
}

/**
 * Undoes the transaction that ended with `fault`. A connection that gave no answer is not asked for another one: it is
 * stuck, and whoever has it will drop it.
 */
async function rollBack(client: PoolClient, fault: unknown): Promise<void> {
  if (!isUnanswered(fault)) {
    await client.query("ROLLBACK").catch(() => undefined);
  }
}

/** The words of `pg` for an answer that did not come in time. */
function isUnanswered(error: unknown): boolean {
  return messageOf(error) === "Query read timeout";
}
