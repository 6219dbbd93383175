/** The types of a request of either protocol and of what answers it; connect-node has them but does not export them. */
import type { IncomingMessage, ServerResponse } from "node:http";
import type { IncomingHttpHeaders, ServerHttp2Stream } from "node:http2";
import type { connectNodeAdapter } from "@connectrpc/connect-node";

/** Answers one HTTP request, as the handler that connectNodeAdapter makes does. */
export type RpcHandler = ReturnType<typeof connectNodeAdapter>;

/** A request over HTTP/1.1 or HTTP/2. */
export type NodeServerRequest = Parameters<RpcHandler>[0];

/** The response to a {@link NodeServerRequest}. */
export type NodeServerResponse = Parameters<RpcHandler>[1];

/**
 * Sees each request before the {@link RpcHandler} and takes those that it can answer at less cost. False: it has
 * neither read nor written anything, and the handler gets the request.
 */
export interface RpcFastLane {
  takeRequest(request: IncomingMessage, response: ServerResponse): boolean;
  /** For HTTP/2 it gets the stream itself, without Node's compatibility layer. */
  takeStream(stream: ServerHttp2Stream, headers: IncomingHttpHeaders, rawHeaders: readonly string[]): boolean;
}
