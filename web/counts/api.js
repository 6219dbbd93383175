/** Asks the service for counts, and turns its answers into plain values: times in Unix milliseconds, counts as numbers. */

/**
 * @typedef {{ start: number, end: number, count: number, partial: boolean, incomplete: boolean }} Bucket
 * @typedef {{ start: number, end: number, freshAt: number | null, settledAt: number | null, incomplete: boolean }} Coverage
 * @typedef {{ label: string, url: string }} Name
 * @typedef {{ property: string, section: number | null, item: number | null, count: number,
 *   previous: number | null } & Name} Entry
 * @typedef {{ buckets: Bucket[], granularity: string, previous: (Bucket | null)[], total: number,
 *   previousTotal: number | null, coverage: Coverage, names: Name[] }} Series
 * @typedef {{ entries: Entry[], total: number, previousTotal: number | null, size: number, coverage: Coverage }} Top
 * @typedef {{ granularity?: string, timeZone?: string }} Fit what a range that is too old for the request would allow
 */

/** A service that is busy names a time to wait; longer than this a person does not wait. */
const RETRY_MAX_MS = 5_000;
const RETRY_DEFAULT_MS = 500;
const RETRIES = 3;
const TIMEOUT_MS = 20_000;

/** Why a call was not answered; `code` as Connect names it, or "unreachable". */
export class CallError extends Error {
  /** @param {string} code @param {string} message @param {unknown[]} [details] */
  constructor(code, message, details = []) {
    super(message);
    this.code = code;
    /** @type {Fit} */
    this.fit = fitOf(details);
    this.fields = fieldsOf(details);
    this.retryAfterMs = retryAfterOf(details);
  }
}

/**
 * Calls a method of CountsService with GET. It asks again when the service is too busy.
 *
 * @param {"QuerySeries" | "QueryTop"} method
 * @param {Record<string, unknown>} request
 * @param {{ token?: string | null, signal?: AbortSignal }} [options]
 * @returns {Promise<any>} the answer, in JSON
 * @throws {CallError}
 */
export async function call(method, request, { token, signal } = {}) {
  for (let tries = 1; ; tries += 1) {
    try {
      return await callOnce(method, request, token, signal);
    } catch (error) {
      const isBusy = error instanceof CallError && error.code === "resource_exhausted";
      if (!isBusy || tries > RETRIES) {
        throw error;
      }
      await new Promise((resolve) => setTimeout(resolve, error.retryAfterMs));
      signal?.throwIfAborted();
    }
  }
}

/** @type {(method: string, request: object, token?: string | null, signal?: AbortSignal) => Promise<any>} */
async function callOnce(method, request, token, signal) {
  const query = new URLSearchParams({ connect: "v1", encoding: "json", message: JSON.stringify(request) });
  const timeout = AbortSignal.timeout(TIMEOUT_MS);
  let answer;
  let body;
  try {
    answer = await fetch(`stats.v1.CountsService/${method}?${query}`, {
      headers: token ? { authorization: `Bearer ${token}` } : {},
      signal: signal ? AbortSignal.any([signal, timeout]) : timeout,
    });
    body = await answer.json().catch(() => null);
  } catch (error) {
    signal?.throwIfAborted();
    throw new CallError("unreachable", error instanceof Error ? error.message : String(error));
  }
  if (answer.ok && body !== null) {
    return body;
  }
  const code = body?.code ?? (answer.status === 404 ? "unimplemented" : "unreachable");
  throw new CallError(code, body?.message ?? `HTTP status ${answer.status}`, body?.details ?? []);
}

/** @param {any[]} details as in Connect's JSON; `debug` holds the message as JSON @returns {Fit} */
function fitOf(details) {
  const info = details.find(({ type }) => type === "google.rpc.ErrorInfo")?.debug?.metadata ?? {};
  return { granularity: info.granularity, timeZone: info.time_zone };
}

/** The fields of the request that are at fault. @param {any[]} details @returns {string[]} */
function fieldsOf(details) {
  const violations =
    details.find(({ type }) => type === "google.rpc.BadRequest")?.debug?.fieldViolations ?? [];
  return violations.map((/** @type {{ field: string }} */ { field }) => field);
}

/** @param {any[]} details */
function retryAfterOf(details) {
  const delay = details.find(({ type }) => type === "google.rpc.RetryInfo")?.debug?.retryDelay;
  const seconds = Number.parseFloat(delay ?? "");
  return Number.isNaN(seconds) ? RETRY_DEFAULT_MS : Math.min(RETRY_MAX_MS, seconds * 1000);
}

/** @param {any} json a QuerySeriesResponse @returns {Series} */
export function readSeries(json) {
  return {
    buckets: (json.buckets ?? []).map(readBucket),
    granularity: json.granularity ?? "",
    previous: (json.previous ?? []).map((/** @type {any} */ pair) =>
      pair.bucket ? readBucket(pair.bucket) : null,
    ),
    total: readCount(json.totalCount),
    previousTotal: readOptional(json.previousTotalCount),
    coverage: readCoverage(json.coverage),
    names: (json.names ?? []).map(readName),
  };
}

/** @param {any} json a QueryTopResponse @returns {Top} */
export function readTop(json) {
  return {
    entries: (json.entries ?? []).map((/** @type {any} */ entry) => ({
      property: entry.property ?? "",
      section: readOptional(entry.section),
      item: readOptional(entry.item),
      count: readCount(entry.count),
      previous: readOptional(entry.previousCount),
      ...readName(entry),
    })),
    total: readCount(json.totalCount),
    previousTotal: readOptional(json.previousTotalCount),
    size: readCount(json.totalSize),
    coverage: readCoverage(json.coverage),
  };
}

/** @param {any} json @returns {Bucket} */
function readBucket(json) {
  return {
    start: Date.parse(json.startTime),
    end: Date.parse(json.endTime),
    count: readCount(json.count),
    partial: json.partial ?? false,
    incomplete: json.incomplete ?? false,
  };
}

/** @param {any} json @returns {Coverage} */
function readCoverage(json = {}) {
  return {
    start: Date.parse(json.startTime),
    end: Date.parse(json.endTime),
    freshAt: readTime(json.freshTime),
    settledAt: readTime(json.settleTime),
    incomplete: json.incomplete ?? false,
  };
}

/** @param {any} json @returns {Name} */
const readName = (json) => ({ label: json.label ?? "", url: json.url ?? "" });

/** A uint64 is a string in JSON, and 0 is left out. @param {string | number | undefined} json */
const readCount = (json) => Number(json ?? 0);

/** @param {string | number | undefined} json */
const readOptional = (json) => (json === undefined ? null : Number(json));

/** @param {string | undefined} json */
const readTime = (json) => (json === undefined ? null : Date.parse(json));
