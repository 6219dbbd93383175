/** What the protocols are held to, on either lane: options, time-outs and compression. */
import { Code, ConnectError } from "@connectrpc/connect";
import { compressionNegotiate, validateUniversalHandlerOptions } from "@connectrpc/connect/protocol";
import {
  headerTimeout as connectTimeoutHeader,
  parseTimeout as parseConnect,
} from "@connectrpc/connect/protocol-connect";
import {
  headerTimeout as grpcTimeoutHeader,
  parseTimeout as parseGrpc,
} from "@connectrpc/connect/protocol-grpc";
import { compressionBrotli, compressionGzip } from "@connectrpc/connect-node";
import { TIMER_MAX_MS } from "../util/clock.js";

const utf8 = new TextDecoder();
/** Longer than the name of any field of the contract. */
const LONG_NAME = /"(?:[^"\\]|\\.){100,}"\s*:/;

/**
 * The text of a message in JSON. Names that the contract does not have are refused, because a misspelt one would be lost
 * without a word, and protobuf-es repeats such a name in its error: a long one is refused here.
 *
 * @throws ConnectError
 */
function decodeJsonText(bytes?: Uint8Array): string {
  const text = utf8.decode(bytes);
  if (LONG_NAME.test(text)) {
    throw new ConnectError("a name in the JSON is longer than that of any field", Code.InvalidArgument);
  }
  return text;
}

/** connect decodes the text by what it is given here, which its types do not say. */
const JSON_OPTIONS = { ignoreUnknownFields: false, textDecoder: { decode: decodeJsonText } };

/**
 * The options of connect's router, with connect's own defaults written out, but for the largest message (BodyLimits).
 *
 * No longest deadline is set (maxTimeoutMs): it would refuse callers with a long one instead of shortening it. How
 * long a request may take to arrive is bounded by the server, how long a handler may wait by the handler.
 */
export const PROTOCOL_OPTIONS = validateUniversalHandlerOptions({
  acceptCompression: [compressionGzip, compressionBrotli],
  jsonOptions: JSON_OPTIONS,
});

/** Milliseconds; undefined: no limit; "malformed": the protocol has an error for it. */
export type CallTimeout = number | undefined | "malformed";

type Parse = typeof parseConnect;

function read(parse: Parse, value: string): CallTimeout {
  const { timeoutMs, error } = parse(value, Number.MAX_SAFE_INTEGER);
  if (error !== undefined) {
    return "malformed";
  }
  return timeoutMs !== undefined && timeoutMs > TIMER_MAX_MS ? undefined : timeoutMs;
}

/** What the header Connect-Timeout-Ms says. */
export function readConnectTimeout(value: string | undefined): CallTimeout {
  return value === undefined ? undefined : read(parseConnect, value);
}

/** What the header Grpc-Timeout says. */
export function readGrpcTimeout(value: string | undefined): CallTimeout {
  return value === undefined ? undefined : read(parseGrpc, value);
}

/**
 * Removes a time-out that is longer than a timer can be. connect hands it to a timer as it is, and so the call's
 * time would be over at once.
 */
export function forgetEndlessTimeout(header: Headers): void {
  const connect = header.get(connectTimeoutHeader);
  if (connect !== null && readConnectTimeout(connect) === undefined) {
    header.delete(connectTimeoutHeader);
  }
  const grpc = header.get(grpcTimeoutHeader);
  if (grpc !== null && readGrpcTimeout(grpc) === undefined) {
    header.delete(grpcTimeoutHeader);
  }
}

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
