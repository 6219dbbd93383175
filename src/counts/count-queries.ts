/** Answers what was counted: the queries of the service behind one bound; it judges no request. */
import type { Pool } from "pg";
import type { Logger } from "pino";
import { createPool } from "../postgres/pool.js";
import type { Clock } from "../util/clock.js";
import { type QueryCaller, QueryPool } from "./query-pool.js";
import { readSeries, type Series, type SeriesQuery } from "./series.js";
import {
  type ItemCounts,
  type ItemCountsQuery,
  readItemCounts,
  readTop,
  type Top,
  type TopQuery,
} from "./top.js";

/** Queries that PostgreSQL works on at a time: few, so that cores are left for what is pushed. */
const CONNECTIONS = 2;
/** How much longer than PostgreSQL works on a statement we wait for its answer, in milliseconds. */
const ANSWER_GRACE_MS = 2_000;

export interface CountQueriesDeps {
  readonly queryPool: QueryPool;
  readonly clock: Pick<Clock, "now">;
}

/** All of its methods throw what {@link QueryPool.run} does, and RangeNotKeptError. */
export class CountQueries {
  readonly #pool: QueryPool;
  readonly #clock: Pick<Clock, "now">;

  constructor({ queryPool, clock }: CountQueriesDeps) {
    this.#pool = queryPool;
    this.#clock = clock;
  }

  /** Queries in flight. */
  get inFlight(): number {
    return this.#pool.inFlight;
  }

  series(query: SeriesQuery, caller: QueryCaller): Promise<Series> {
    return this.#pool.run(caller, (snapshot) => readSeries(snapshot, query, this.#clock.now()));
  }

  top(query: TopQuery, caller: QueryCaller): Promise<Top> {
    return this.#pool.run(caller, (snapshot) => readTop(snapshot, query, this.#clock.now()));
  }

  itemCounts(query: ItemCountsQuery, caller: QueryCaller): Promise<ItemCounts> {
    return this.#pool.run(caller, (snapshot) => readItemCounts(snapshot, query, this.#clock.now()));
  }

  close(): Promise<void> {
    return this.#pool.close();
  }
}

export interface QueryPoolOptions {
  /** `postgres://` URL. */
  readonly url: string;
  readonly logger: Logger;
  readonly timeoutMs: number;
  readonly maxInFlight: number;
}

/** Opens nothing until there is a query. */
export function createQueryPool({ url, logger, timeoutMs, maxInFlight }: QueryPoolOptions): QueryPool {
  const pool = (max: number): Pool =>
    createPool({
      url,
      logger,
      statementTimeoutMs: timeoutMs,
      settings: {
        max,
        // A query may wait for those before it.
        connectionTimeoutMillis: timeoutMs,
        query_timeout: timeoutMs + ANSWER_GRACE_MS,
        application_name: "stats-service queries",
      },
    });
  return new QueryPool({ pool: pool(CONNECTIONS), cancelPool: pool(1), timeoutMs, maxInFlight });
}
