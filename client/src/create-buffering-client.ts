/** Puts the buffering client together: its calls go to the service, and it heeds the page or program that it is in. */
import { createBatchCall } from "./batch-call.js";
import { BufferingClient } from "./buffering-client.js";
import { type CallOptions, createCallFetch, soundBaseUrl } from "./call-fetch.js";
import { globalHost } from "./host.js";
import { BUFFERING_OPTIONS, type BufferingOptions, CALL_OPTIONS, refuseUnknown } from "./options.js";

/**
 * Makes a buffering client of the service at `baseUrl`, for example `http://localhost:3000`.
 *
 * @throws TypeError when the URL or an option cannot be used
 */
export function createBufferingClient(
  baseUrl: string | URL,
  options: BufferingOptions & CallOptions = {},
): BufferingClient {
  refuseUnknown(options, [...BUFFERING_OPTIONS, ...CALL_OPTIONS]);
  const { token, headers, fetch, ...buffering } = options;
  const callFetch = createCallFetch({ token, headers, fetch });
  const pusher = createBatchCall(soundBaseUrl(baseUrl), callFetch);
  return new BufferingClient({ pusher, host: globalHost }, buffering);
}
