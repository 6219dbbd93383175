/** The types of a request of either protocol and of what answers it; connect-node has them but does not export them. */
import type { connectNodeAdapter } from "@connectrpc/connect-node";

/** Answers one HTTP request, as the handler that connectNodeAdapter makes does. */
export type RpcHandler = ReturnType<typeof connectNodeAdapter>;

/** A request over HTTP/1.1 or HTTP/2. */
export type NodeServerRequest = Parameters<RpcHandler>[0];

/** The response to a {@link NodeServerRequest}. */
export type NodeServerResponse = Parameters<RpcHandler>[1];
