/** Lets scripts of other origins call from browsers (https://fetch.spec.whatwg.org/#http-cors-protocol); it refuses no request. */
import { cors as connectCors } from "@connectrpc/connect";
import cors from "cors";
import type { RpcFastLane, RpcHandler } from "./rpc-handler.js";

/** Stands for every origin. */
export const ANY_ORIGIN = "*";

/** Whether this is what browsers send as Origin, such as "https://example.com:8080", or "*". */
export function isOrigin(text: string): boolean {
  if (text === ANY_ORIGIN) {
    return true;
  }
  if (!URL.canParse(text)) {
    return false;
  }
  const { protocol, host } = new URL(text);
  // No browser sends a pattern, and none is matched here.
  return host !== "" && !host.includes("*") && text === `${protocol}//${host}`;
}

/** How long browsers may keep the answer to a preflight, in seconds; none keeps it longer. */
const PREFLIGHT_MAX_AGE_S = 7_200;

/** What scripts may send besides the headers of the protocols: a token, and a trace's context. */
const MORE_ALLOWED_HEADERS = ["Authorization", "Traceparent", "Tracestate"];

/** The two ways that a request can be answered. */
export interface Lanes {
  readonly handler: RpcHandler;
  readonly fastLane: RpcFastLane;
}

/**
 * The same lanes, which tell browsers that scripts of these origins may call, each of which passes `isOrigin`.
 * All requests of browsers go to the handler, and the fast lane knows nothing of this.
 */
export function allowOrigins(origins: readonly string[], { handler, fastLane }: Lanes): Lanes {
  const middleware = cors({
    origin: origins.includes(ANY_ORIGIN) ? ANY_ORIGIN : [...origins],
    methods: [...connectCors.allowedMethods],
    allowedHeaders: [...connectCors.allowedHeaders, ...MORE_ALLOWED_HEADERS],
    exposedHeaders: [...connectCors.exposedHeaders],
    maxAge: PREFLIGHT_MAX_AGE_S,
  });
  return {
    handler: (request, response) => middleware(request, response, () => handler(request, response)),
    fastLane: {
      takeRequest: (request, response) =>
        request.headers.origin === undefined && fastLane.takeRequest(request, response),
      takeStream: (stream, headers, rawHeaders) =>
        headers.origin === undefined && fastLane.takeStream(stream, headers, rawHeaders),
    },
  };
}
