/** Chooses the compression of answers as connect does; it never writes one. */
import { compressionNegotiate } from "@connectrpc/connect/protocol";
import { PROTOCOL_OPTIONS } from "../protocol-options.js";

/** A compression that both sides know; null: none. */
export type ResponseCompression = ReturnType<typeof compressionNegotiate>["response"];

/** Chosen for what clients say they accept, of which there are few kinds. */
const chosen = new Map<string, ResponseCompression>();
const CHOSEN_MAX = 64;

/** The compression for a client that accepts those that `accepted`, a request header, lists. */
export function chooseCompression(accepted: string | undefined): ResponseCompression {
  if (accepted === undefined) {
    return null;
  }
  let compression = chosen.get(accepted);
  if (compression === undefined) {
    // The last parameter only matters to errors, and there is none without a compressed request.
    compression = compressionNegotiate(PROTOCOL_OPTIONS.acceptCompression, null, accepted, "").response;
    if (chosen.size < CHOSEN_MAX) {
      chosen.set(accepted, compression);
    }
  }
  return compression;
}

/** Whether an answer is large enough for compression to pay. */
export function isWorthCompressing(bytes: Uint8Array): boolean {
  return bytes.length >= PROTOCOL_OPTIONS.compressMinBytes;
}
