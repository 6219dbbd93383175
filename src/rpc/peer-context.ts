/** Carries the caller's address from the connection to the handler. */
import { type ContextValues, createContextKey, createContextValues } from "@connectrpc/connect";
import { UNKNOWN_PEER } from "../server/peer.js";

/** The caller's address in PostgreSQL's binary inet form; no bytes when it is not known. */
export const peerKey = createContextKey<Uint8Array>(UNKNOWN_PEER);

/** The context values of a request from this address. */
export function peerContext(peer: Uint8Array): ContextValues {
  return createContextValues().set(peerKey, peer);
}
