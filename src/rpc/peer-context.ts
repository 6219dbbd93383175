/** Carries the caller's address from the connection to the handler. */
import { type ContextValues, createContextKey, createContextValues } from "@connectrpc/connect";
import { peerAddressOf, UNKNOWN_PEER } from "../server/peer.js";
import type { NodeServerRequest } from "../server/rpc-handler.js";

/** The caller's address in PostgreSQL's binary inet form; no bytes when it is not known. */
export const peerKey = createContextKey<Uint8Array>(UNKNOWN_PEER);

/** The context values of a request. */
export function peerContext(request: NodeServerRequest): ContextValues {
  return createContextValues().set(peerKey, peerAddressOf(request));
}
