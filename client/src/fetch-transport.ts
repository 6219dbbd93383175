/**
 * Carries unary Connect calls by `fetch`, in Node and in browsers alike; it never retries.
 *
 * connect's own transports are for one or the other. This is its protocol with an HTTP client of our own: connect's
 * `createFetchClient` streams the request, which Node refuses without `duplex` and browsers over HTTP/1.1.
 */
import { Code, ConnectError, type Interceptor, type Transport } from "@connectrpc/connect";
import {
  readAllBytes,
  type UniversalClientFn,
  type UniversalClientRequest,
  universalClientResponseFromFetch,
} from "@connectrpc/connect/protocol";
import { createTransport } from "@connectrpc/connect/protocol-connect";
import { TIMER_MAX_MS } from "../../src/util/clock.js";
import { messageOf } from "../../src/util/error-message.js";

/** What a gRPC client takes by default; the service keeps its answers below it. */
const RESPONSE_MAX_BYTES = 4 * 1024 * 1024;
const REQUEST_MAX_BYTES = 1024 * 1024;
/** connect's word for a call that has no limit. It hands any other to a timer as it is. */
const NO_TIMEOUT = 0;
const HTTP_CONTENT_TOO_LARGE = 413;

export interface FetchTransportOptions {
  readonly baseUrl: string;
  readonly fetch: typeof globalThis.fetch;
  /** Time limit of each call that names none, in milliseconds. */
  readonly timeoutMs: number;
  readonly interceptors: readonly Interceptor[];
}

/** Makes a transport for unary calls. */
export function createFetchTransport(options: FetchTransportOptions): Transport {
  const transport = createTransport({
    httpClient: createHttpClient(options.fetch),
    baseUrl: options.baseUrl,
    useBinaryFormat: true,
    interceptors: [...options.interceptors],
    // `fetch` asks for compressed answers and decompresses them by itself.
    acceptCompression: [],
    sendCompression: null,
    compressMinBytes: 0,
    readMaxBytes: RESPONSE_MAX_BYTES,
    writeMaxBytes: REQUEST_MAX_BYTES,
  });
  return {
    ...transport,
    unary: (method, signal, timeoutMs = options.timeoutMs, ...rest) =>
      transport.unary(method, signal, timeoutMs > TIMER_MAX_MS ? NO_TIMEOUT : timeoutMs, ...rest),
  };
}

function createHttpClient(fetch: typeof globalThis.fetch): UniversalClientFn {
  return async (request) => {
    const body = request.body && (await readAllBytes(request.body, REQUEST_MAX_BYTES));
    const response = await fetch(request.url, {
      method: request.method,
      headers: request.header,
      // `fetch` makes a GET of the call, or cannot repeat its body.
      redirect: "manual",
      ...(body && { body: body as Uint8Array<ArrayBuffer> }),
      ...(request.signal && { signal: request.signal }),
    }).catch((error: unknown) => {
      throw unreachable(error, request);
    });
    if (isRedirect(response)) {
      await response.body?.cancel();
      throw redirected(response, request);
    }
    if (response.status === HTTP_CONTENT_TOO_LARGE) {
      await response.body?.cancel();
      throw tooLong(request);
    }
    const header = new Headers(response.headers);
    // They speak of the body before `fetch` decompressed it.
    header.delete("content-encoding");
    header.delete("content-length");
    const universal = universalClientResponseFromFetch(response);
    return { ...universal, header, body: namingFaults(universal.body, request) };
  };
}

/** Browsers hide what it is, and where it leads. */
function isRedirect({ type, status }: Response): boolean {
  return type === "opaqueredirect" || (status >= 300 && status < 400);
}

/** Like the answer of a server that knows no such method: someone has to mend the address. */
function redirected({ headers }: Response, { url }: UniversalClientRequest): ConnectError {
  const location = headers.get("location");
  const target = location === null ? "elsewhere" : `to ${location}`;
  const message = `${new URL(url).origin} redirects ${target}, which calls do not follow`;
  return new ConnectError(message, Code.Unimplemented);
}

/** As the service says it. To connect it is an unknown error, and the same request would be made again and again. */
function tooLong({ url }: UniversalClientRequest): ConnectError {
  const message = `${new URL(url).origin} takes no request of this size: HTTP ${HTTP_CONTENT_TOO_LARGE}`;
  return new ConnectError(message, Code.ResourceExhausted);
}

/** A body whose loss on the way is an error like that of a server out of reach. */
async function* namingFaults(body: AsyncIterable<Uint8Array>, request: UniversalClientRequest) {
  try {
    yield* body;
  } catch (error) {
    throw unreachable(error, request);
  }
}

/** `fetch` says "fetch failed", and why in `cause`. An abort is left to connect, which knows the reason. */
function unreachable(error: unknown, { url, signal }: UniversalClientRequest): unknown {
  if (signal?.aborted === true) {
    return error;
  }
  const { cause } = (error ?? {}) as { cause?: unknown };
  const message = `no answer from ${new URL(url).origin}: ${messageOf(cause ?? error)}`;
  return new ConnectError(message, Code.Unavailable, undefined, undefined, error);
}
