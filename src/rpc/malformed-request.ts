/** Corrects whose fault a malformed request is; it never looks at a request itself. */
import { Code } from "@connectrpc/connect";
import {
  createAsyncIterable,
  readAllBytes,
  type UniversalServerResponse,
} from "@connectrpc/connect/protocol";
import { codeToString } from "@connectrpc/connect/protocol-connect";

const HTTP_BAD_REQUEST = 400;
const HTTP_INTERNAL_ERROR = 500;
/** Far more than an error of connect's own making has. */
const ERROR_MAX_BYTES = 64 * 1024;
/** What connect's message starts with when it cannot parse protobuf's binary format, or decompress a body. */
const CALLERS_FAULTS = ["parse binary: ", "decompression failed"];

/**
 * Over the Connect protocol, connect answers a body that is not a protobuf message, or not compressed as it says, with
 * "internal" and HTTP status 500, which tells callers to retry and operators to look for a bug. Makes it
 * "invalid_argument" and 400, as it is for JSON and for most of what is no gzip. gRPC and gRPC-Web keep INTERNAL, which
 * is what their own implementations answer.
 */
export async function blameCaller(response: UniversalServerResponse): Promise<UniversalServerResponse> {
  if (response.status !== HTTP_INTERNAL_ERROR || response.body === undefined) {
    return response;
  }
  const bytes = await readAllBytes(response.body as AsyncIterable<Uint8Array>, ERROR_MAX_BYTES);
  const error = JSON.parse(Buffer.from(bytes).toString()) as { code?: string; message?: string };
  const isCallersFault = CALLERS_FAULTS.some((fault) => error.message?.startsWith(fault));
  if (error.code !== codeToString(Code.Internal) || !isCallersFault) {
    return { ...response, body: createAsyncIterable([bytes]) };
  }
  const body = Buffer.from(JSON.stringify({ ...error, code: codeToString(Code.InvalidArgument) }));
  const header = new Headers(response.header);
  header.set("content-length", String(body.length));
  return { ...response, status: HTTP_BAD_REQUEST, header, body: createAsyncIterable([body]) };
}
