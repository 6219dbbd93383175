/**
 * The `fetch` that each call of the client goes through, in Node and in browsers alike: it adds the caller's headers and
 * token, and gives what is no answer of the service the name of an error; it never retries.
 */
import { Code, ConnectError } from "@connectrpc/connect";
import { messageOf } from "../../src/util/error-message.js";

export interface CallOptions {
  /** Bearer token, or a function that gives the current one before each call. Default: none is sent. */
  readonly token?: string | (() => string | Promise<string>) | undefined;
  /** Headers for each call. Default: none. */
  readonly headers?: Readonly<Record<string, string>> | undefined;
  /** Makes the HTTP requests. Default: the global `fetch`. */
  readonly fetch?: typeof globalThis.fetch | undefined;
}

/** Rejects with a ConnectError, or with the reason of the request's signal when the call was given up. */
export type CallFetch = (url: string, request: CallRequest) => Promise<Response>;
export type CallRequest = NonNullable<Parameters<typeof fetch>[1]>;

/** What a gRPC client takes by default; the service keeps its answers below it. */
const RESPONSE_MAX_BYTES = 4 * 1024 * 1024;
const HTTP_CONTENT_TOO_LARGE = 413;

/** @throws TypeError when a header or the token cannot be sent */
export function createCallFetch(options: CallOptions): CallFetch {
  const { token, headers = {} } = options;
  // Looked up at each call, so that one that is replaced or instrumented later is used.
  const fetch = options.fetch ?? ((input, init) => globalThis.fetch(input, init));
  setHeaders(new Headers(), headers, typeof token === "string" ? token : undefined);
  return (url, request) => {
    const call = async () => {
      const sent = new Headers(request.headers);
      setHeaders(sent, headers, typeof token === "function" ? await token() : token);
      // A redirect makes a GET of the call, or cannot repeat its body.
      return await answerOf(url, () => fetch(url, { ...request, headers: sent, redirect: "manual" }));
    };
    // Neither a token nor a `fetch` of the caller's may take longer than the call.
    return request.signal == null ? call() : untilAborted(call(), request.signal);
  };
}

/**
 * The URL as a text.
 *
 * @throws TypeError when calls cannot be made to it
 */
export function soundBaseUrl(baseUrl: string | URL): string {
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
  return url.href.replace(/\/$/, "");
}

/** Settles as the promise does; rejects before with the reason of the signal, when that aborts. */
function untilAborted<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const giveUp = () => reject(signal.reason);
    if (signal.aborted) {
      giveUp();
    }
    signal.addEventListener("abort", giveUp, { once: true });
    promise.then(resolve, reject);
  });
}

function setHeaders(target: Headers, headers: Readonly<Record<string, string>>, token?: string): void {
  for (const [name, value] of Object.entries(headers)) {
    setHeader(target, name, value, `headers: ${name}`);
  }
  if (token !== undefined) {
    setHeader(target, "authorization", `Bearer ${token}`, "token");
  }
}

/** Never with the value in an error, nor with the cause, which quotes it: it may be a secret. */
function setHeader(target: Headers, name: string, value: string, option: string): void {
  try {
    target.set(name, value);
  } catch {
    throw new TypeError(`${option} has characters that a header cannot carry`);
  }
}

/** The answer, with all of its body. Rejects with a ConnectError when it is none of the service's. */
async function answerOf(url: string, send: () => Promise<Response>): Promise<Response> {
  try {
    const response = await send();
    if (isRedirect(response) || response.status === HTTP_CONTENT_TOO_LARGE) {
      await response.body?.cancel();
      throw isRedirect(response) ? redirected(response, url) : tooLong(url);
    }
    const { status, headers } = response;
    const body = await readBody(response, url);
    // Some statuses allow no body, not even an empty one.
    return new Response(body.size === 0 ? null : body, { status, headers });
  } catch (error) {
    throw error instanceof ConnectError ? error : unreachable(error, url);
  }
}

/** @throws ConnectError when it is too long */
async function readBody({ body }: Response, url: string): Promise<Blob> {
  const chunks: Uint8Array<ArrayBuffer>[] = [];
  let length = 0;
  const reader = body?.getReader();
  for (let part = await reader?.read(); part?.done === false; part = await reader?.read()) {
    chunks.push(part.value);
    length += part.value.length;
    if (length > RESPONSE_MAX_BYTES) {
      await reader?.cancel();
      const message = `the answer of ${new URL(url).origin} is longer than ${RESPONSE_MAX_BYTES} bytes`;
      throw new ConnectError(message, Code.Internal);
    }
  }
  return new Blob(chunks);
}

/** Browsers hide what it is, and where it leads. */
function isRedirect({ type, status }: Response): boolean {
  return type === "opaqueredirect" || (status >= 300 && status < 400);
}

/** Like the answer of a server that knows no such method: a person has to correct the address. */
function redirected({ headers }: Response, url: string): ConnectError {
  const location = headers.get("location");
  const target = location === null ? "elsewhere" : `to ${location}`;
  const message = `${new URL(url).origin} redirects ${target}, which calls do not follow`;
  return new ConnectError(message, Code.Unimplemented);
}

/** As the service says it. To connect it is an unknown error, and the same request would be made again and again. */
function tooLong(url: string): ConnectError {
  const message = `${new URL(url).origin} takes no request of this size: HTTP ${HTTP_CONTENT_TOO_LARGE}`;
  return new ConnectError(message, Code.ResourceExhausted);
}

/** `fetch` says "fetch failed", and why in `cause`. The loss of a body on its way is like that of a server. */
function unreachable(error: unknown, url: string): ConnectError {
  const { cause } = (error ?? {}) as { cause?: unknown };
  const message = `no answer from ${new URL(url).origin}: ${messageOf(cause ?? error)}`;
  return new ConnectError(message, Code.Unavailable, undefined, undefined, error);
}
