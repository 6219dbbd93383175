/** What the protocols are held to, by either lane; it parses and writes nothing itself. */
import { validateUniversalHandlerOptions } from "@connectrpc/connect/protocol";
import { compressionBrotli, compressionGzip } from "@connectrpc/connect-node";

/**
 * The options of connect's router, with connect's own defaults written out, but for the largest message (BodyLimits).
 *
 * No longest deadline is set (maxTimeoutMs): it would refuse callers with a long one instead of shortening it. How
 * long a request may take to arrive is bounded by the server, how long a handler may wait by the handler.
 */
export const PROTOCOL_OPTIONS = validateUniversalHandlerOptions({
  acceptCompression: [compressionGzip, compressionBrotli],
});
