/**
 * Runs queries on connections of their own, so that none of them keeps a flush waiting, and ends them in PostgreSQL when
 * nobody waits for them any more; it knows no query.
 */
import type { Pool, PoolClient } from "pg";
import { closePool } from "../postgres/pool.js";
import { classifyFault, QUERY_CANCELED, sqlstateOf } from "../postgres/sqlstate.js";
import {
  CountsUnavailableError,
  QueryAbandonedError,
  QueryTimeoutError,
  RangeNotKeptError,
  TooManyQueriesError,
} from "./query-errors.js";
import { inSnapshot, type Snapshot } from "./snapshot.js";

/** A caller that may leave. */
export interface QueryCaller {
  /** Calls `listener`, once, when the caller leaves or its deadline passes; at once if that has happened. */
  onAbandoned(listener: () => void): void;
}

export interface QueryPoolDeps {
  /** For queries alone. Each of its statements ends by itself after `timeoutMs`. */
  readonly pool: Pool;
  /** For what ends a query, which must not wait behind queries. */
  readonly cancelPool: Pool;
  readonly timeoutMs: number;
  /** Most queries that run or wait for a connection at a time. */
  readonly maxInFlight: number;
}

/** The queries in flight. */
export class QueryPool {
  readonly #deps: QueryPoolDeps;
  #inFlight = 0;

  constructor(deps: QueryPoolDeps) {
    this.#deps = deps;
  }

  /** Queries that run or wait for a connection. */
  get inFlight(): number {
    return this.#inFlight;
  }

  /**
   * What `work` gives in a snapshot. The query counts as in flight until PostgreSQL has done with it.
   *
   * @throws TooManyQueriesError, QueryAbandonedError, QueryTimeoutError, CountsUnavailableError, and what `work` throws
   */
  async run<T>(caller: QueryCaller, work: (snapshot: Snapshot) => Promise<T>): Promise<T> {
    const { pool, cancelPool, maxInFlight } = this.#deps;
    if (this.#inFlight >= maxInFlight) {
      throw new TooManyQueriesError(maxInFlight);
    }
    this.#inFlight += 1;
    try {
      const cancellation = new Cancellation(cancelPool);
      caller.onAbandoned(() => cancellation.request());
      const client = await pool.connect().catch((cause: unknown) => {
        throw new CountsUnavailableError({ cause });
      });
      return await this.#runOn(client, cancellation, work);
    } finally {
      this.#inFlight -= 1;
    }
  }

  /** Ends the connections; queries that still run are cut off at its deadline. Safe twice. */
  async close(): Promise<void> {
    await Promise.all([closePool(this.#deps.pool), closePool(this.#deps.cancelPool)]);
  }

  async #runOn<T>(
    client: PoolClient,
    cancellation: Cancellation,
    work: (snapshot: Snapshot) => Promise<T>,
  ): Promise<T> {
    let isBroken = false;
    try {
      return await inSnapshot(client, (snapshot) => {
        cancellation.begin(snapshot.backendPid);
        return work(snapshot);
      });
    } catch (error) {
      isBroken = !isOurs(error) && (error as { severity?: unknown }).severity !== "ERROR";
      throw this.#explain(error, cancellation);
    } finally {
      await cancellation.end();
      // A cancel that arrives late must not meet the next query.
      client.release(isBroken || cancellation.isRequested);
    }
  }

  #explain(error: unknown, { isRequested }: Cancellation): unknown {
    if (isOurs(error)) {
      return error;
    }
    if (isRequested) {
      return new QueryAbandonedError();
    }
    if (sqlstateOf(error) === QUERY_CANCELED) {
      return new QueryTimeoutError(this.#deps.timeoutMs, { cause: error });
    }
    const isOfDatabase = ["transient", "schema"].includes(classifyFault(error));
    return isOfDatabase ? new CountsUnavailableError({ cause: error }) : error;
  }
}

/** Not of PostgreSQL's making: the connection is sound. */
function isOurs(error: unknown): boolean {
  return error instanceof RangeNotKeptError || error instanceof QueryAbandonedError;
}

/** Whether a query is to end early: not asked for; asked for before it began, so that it does not begin; or sent to PostgreSQL. */
class Cancellation {
  readonly #pool: Pool;
  #isRequested = false;
  /** Of the session in which the query runs; undefined: it does not. */
  #backendPid: number | undefined;
  #sent: Promise<unknown> | undefined;

  constructor(pool: Pool) {
    this.#pool = pool;
  }

  get isRequested(): boolean {
    return this.#isRequested;
  }

  request(): void {
    this.#isRequested = true;
    if (this.#backendPid !== undefined) {
      // Without a connection for it, the statement's time-out ends the query.
      this.#sent = this.#pool
        .query("SELECT pg_cancel_backend($1)", [this.#backendPid])
        .catch(() => undefined);
    }
  }

  /** @throws QueryAbandonedError */
  begin(backendPid: number): void {
    if (this.#isRequested) {
      throw new QueryAbandonedError();
    }
    this.#backendPid = backendPid;
  }

  /** Resolves when nothing more is sent. */
  async end(): Promise<void> {
    this.#backendPid = undefined;
    await this.#sent;
  }
}
