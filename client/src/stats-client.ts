/** The typed clients of StatsService and CountsService over Connect, for Node and browsers; they neither buffer nor retry. */
import { type Client, createClient, type Transport } from "@connectrpc/connect";
import { createConnectTransport } from "@connectrpc/connect-web";
import { CountsService } from "../../gen/stats/v1/counts_pb.js";
import { StatsService } from "../../gen/stats/v1/stats_pb.js";
import { TIMER_MAX_MS } from "../../src/util/clock.js";
import { type CallOptions, createCallFetch, soundBaseUrl } from "./call-fetch.js";
import { CALL_OPTIONS, refuseUnknown } from "./options.js";

/** Calls Push and PushBatch; each returns a promise that rejects with a `ConnectError`. */
export type StatsClient = Client<typeof StatsService>;

export interface StatsClientOptions extends CallOptions {
  /** Time limit of each call that names none, in milliseconds; `Infinity`: no limit. Default: 10,000. */
  readonly timeoutMs?: number | undefined;
}

const DEFAULT_TIMEOUT_MS = 10_000;
/** connect's word for a call that has no limit. It hands any other to a timer as it is. */
const NO_TIMEOUT = 0;

/**
 * Makes a client of the service at `baseUrl`, for example `http://localhost:3000`. Calls nothing yet.
 *
 * @throws TypeError when the URL or an option cannot be used
 */
export function createStatsClient(baseUrl: string | URL, options: StatsClientOptions = {}): StatsClient {
  return createClient(StatsService, createTransport(baseUrl, options));
}

/** Calls QuerySeries, QueryTop and QueryCounts; each returns a promise that rejects with a `ConnectError`. */
export type CountsClient = Client<typeof CountsService>;

/**
 * Makes a client that asks the service at `baseUrl` what it has counted. A token has to be one that may read. Calls nothing
 * yet.
 *
 * @throws TypeError when the URL or an option cannot be used
 */
export function createCountsClient(baseUrl: string | URL, options: StatsClientOptions = {}): CountsClient {
  return createClient(CountsService, createTransport(baseUrl, options));
}

function createTransport(baseUrl: string | URL, options: StatsClientOptions): Transport {
  refuseUnknown(options, [...CALL_OPTIONS, "timeoutMs"]);
  const { timeoutMs = DEFAULT_TIMEOUT_MS } = options;
  if (!(timeoutMs > 0)) {
    throw new TypeError(`timeoutMs must be above 0, not ${timeoutMs}`);
  }
  const callFetch = createCallFetch(options);
  const transport = createConnectTransport({
    baseUrl: soundBaseUrl(baseUrl),
    useBinaryFormat: true,
    // The transport gives the URL as a text.
    fetch: (url, request = {}) => callFetch(url as string, request),
  });
  return withTimeLimit(transport, timeoutMs);
}

function withTimeLimit(transport: Transport, defaultMs: number): Transport {
  return {
    ...transport,
    unary: (method, signal, timeoutMs = defaultMs, ...rest) =>
      transport.unary(method, signal, timeoutMs > TIMER_MAX_MS ? NO_TIMEOUT : timeoutMs, ...rest),
  };
}
