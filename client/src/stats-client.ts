/** The typed client of StatsService over Connect, for Node and browsers; it neither buffers nor retries. */
import { type Client, createClient, type Interceptor } from "@connectrpc/connect";
import { StatsService } from "../../gen/stats/v1/stats_pb.js";
import { createFetchTransport } from "./fetch-transport.js";

/** Calls Push and PushBatch; each returns a promise that rejects with a `ConnectError`. */
export type StatsClient = Client<typeof StatsService>;

export interface StatsClientOptions {
  /** Bearer token, or a function that gives the current one before each call. Default: none is sent. */
  readonly token?: string | (() => string | Promise<string>) | undefined;
  /** Time limit of each call that names none, in milliseconds; `Infinity`: no limit. Default: 10,000. */
  readonly timeoutMs?: number | undefined;
  /** Headers for each call. Default: none. */
  readonly headers?: Readonly<Record<string, string>> | undefined;
  /** Makes the HTTP requests. Default: the global `fetch`. */
  readonly fetch?: typeof globalThis.fetch | undefined;
}

const DEFAULT_TIMEOUT_MS = 10_000;

/**
 * Makes a client of the service at `baseUrl`, for example `http://localhost:3000`. Calls nothing yet.
 *
 * @throws TypeError when the URL or an option cannot be used
 */
export function createStatsClient(baseUrl: string | URL, options: StatsClientOptions = {}): StatsClient {
  const { token, timeoutMs = DEFAULT_TIMEOUT_MS, headers = {} } = options;
  if (!(timeoutMs > 0)) {
    throw new TypeError(`timeoutMs must be above 0, not ${timeoutMs}`);
  }
  const transport = createFetchTransport({
    baseUrl: soundBaseUrl(baseUrl),
    // Looked up at each call, so that one that is replaced or instrumented later is used.
    fetch: options.fetch ?? ((input, init) => globalThis.fetch(input, init)),
    timeoutMs,
    interceptors: [withHeaders(headers), ...(token === undefined ? [] : [withToken(token)])],
  });
  return createClient(StatsService, transport);
}

function soundBaseUrl(baseUrl: string | URL): string {
  const text = String(baseUrl);
  const refuse = (why: string) => new TypeError(`baseUrl ${why}, for example http://localhost:3000`);
  if (!URL.canParse(text)) {
    throw refuse(`must be an absolute URL, not ${JSON.stringify(text)}`);
  }
  const url = new URL(text);
  if (url.protocol !== "http:" && url.protocol !== "https:") {
    throw refuse(`must begin with http:// or https://, not ${url.protocol}`);
  }
  // The text is not repeated: it holds a password.
  if (url.username !== "" || url.password !== "") {
    throw refuse("must have no user or password (use the option token)");
  }
  if (url.search !== "" || url.hash !== "") {
    throw refuse("must have neither ? nor #");
  }
  return url.href;
}

function withHeaders(headers: Readonly<Record<string, string>>): Interceptor {
  const setAll = (target: Headers) => {
    for (const [name, value] of Object.entries(headers)) {
      setHeader(target, name, value, `headers: ${name}`);
    }
  };
  setAll(new Headers());
  return (next) => (request) => {
    setAll(request.header);
    return next(request);
  };
}

function withToken(token: string | (() => string | Promise<string>)): Interceptor {
  const set = (target: Headers, value: string) =>
    setHeader(target, "authorization", `Bearer ${value}`, "token");
  if (typeof token === "string") {
    set(new Headers(), token);
  }
  return (next) => async (request) => {
    const current = typeof token === "string" ? token : await withinCall(token(), request.signal);
    set(request.header, current);
    return next(request);
  };
}

/** Never with the value in an error, nor with the cause, which quotes it: it may be a secret. */
function setHeader(target: Headers, name: string, value: string, option: string): void {
  try {
    target.set(name, value);
  } catch {
    throw new TypeError(`${option} has characters that a header cannot carry`);
  }
}

/** A caller's promise may take for ever; a call has its time. */
function withinCall<T>(promise: T | Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    signal.addEventListener("abort", () => reject(signal.reason), { once: true });
    Promise.resolve(promise).then(resolve, reject);
  });
}
