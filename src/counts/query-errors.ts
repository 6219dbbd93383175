/** Why a query has no answer, in the words of counts; it knows no codes. */
import type { BucketUnit } from "./calendar.js";

/** Buckets of some zone. */
export interface Fit {
  readonly unit: BucketUnit;
  /** IANA name. */
  readonly timeZone: string;
}

/** What is kept of the range has other edges than the query needs. */
export class RangeNotKeptError extends Error {
  override readonly name = "RangeNotKeptError";
  /** The finest buckets that fit; undefined: none do. */
  readonly fit: Fit | undefined;

  constructor(message: string, fit: Fit | undefined) {
    super(message);
    this.fit = fit;
  }
}

/** As many queries run as may. */
export class TooManyQueriesError extends Error {
  override readonly name = "TooManyQueriesError";

  constructor(maxInFlight: number) {
    super(`${maxInFlight} queries are running already`);
  }
}

/** The query took longer than it may. */
export class QueryTimeoutError extends Error {
  override readonly name = "QueryTimeoutError";

  constructor(timeoutMs: number, options: ErrorOptions) {
    super(`the query took longer than ${timeoutMs} ms`, options);
  }
}

/** The caller left, or its time was over, before the answer. */
export class QueryAbandonedError extends Error {
  override readonly name = "QueryAbandonedError";

  constructor() {
    super("the query was cancelled, because its caller left or its deadline passed");
  }
}

/** The database cannot be asked, or has no counts yet. */
export class CountsUnavailableError extends Error {
  override readonly name = "CountsUnavailableError";

  constructor(options: ErrorOptions) {
    super("the counts cannot be read from the database", options);
  }
}
