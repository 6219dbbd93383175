/** What is said of requests that no method gets: each protocol's own words where it has some, and else a sentence. */
import { Code } from "@connectrpc/connect";
import {
  createAsyncIterable,
  encodeEnvelope,
  readAllBytes,
  type UniversalServerResponse,
} from "@connectrpc/connect/protocol";
import { codeToString } from "@connectrpc/connect/protocol-connect";
import type { NodeServerRequest, NodeServerResponse } from "../server/rpc-handler.js";

const HTTP_OK = 200;
const HTTP_BAD_REQUEST = 400;
const HTTP_NOT_FOUND = 404;
const HTTP_METHOD_NOT_ALLOWED = 405;
const HTTP_UNSUPPORTED_MEDIA_TYPE = 415;
const HTTP_INTERNAL_ERROR = 500;
/** What each protocol reads as "unavailable": try again. */
const HTTP_SERVICE_UNAVAILABLE = 503;

const GRPC = /^application\/grpc/;
const GRPC_WEB = /^application\/grpc-web/;
const CONNECT_UNARY = /^application\/(?:json|proto)\b/;

const EXAMPLE =
  'POST /stats.v1.StatsService/Push with "content-type: application/json" and a body such as {"property":"news","section":3,"item":42}';

/** There is no method at the path. gRPC asks for its status over HTTP 200. */
export function answerUnknownMethod({ headers }: NodeServerRequest, response: NodeServerResponse): void {
  const contentType = headers["content-type"] ?? "";
  const sentence = `no method is at this path; send ${EXAMPLE}`;
  if (GRPC.test(contentType)) {
    // Header and end in one frame, which writeHead would keep apart.
    response.statusCode = HTTP_OK;
    response.setHeader("content-type", contentType);
    response.setHeader("grpc-status", String(Code.Unimplemented));
    response.setHeader("grpc-message", encodeURIComponent("there is no such method"));
    response.end();
  } else if (CONNECT_UNARY.test(contentType)) {
    const error = { code: codeToString(Code.Unimplemented), message: sentence };
    end(response, HTTP_NOT_FOUND, "application/json", JSON.stringify(error));
  } else {
    end(response, HTTP_NOT_FOUND, TEXT, `${sentence}\n`);
  }
}

/** As many calls are open as may. */
export function answerTooManyCalls(response: NodeServerResponse): void {
  response.setHeader("retry-after", "1");
  end(response, HTTP_SERVICE_UNAVAILABLE, TEXT, "too many calls are open; try again in a second\n");
}

const TEXT = "text/plain; charset=utf-8";

function end(response: NodeServerResponse, status: number, contentType: string, text: string): void {
  response.statusCode = status;
  response.setHeader("content-type", contentType);
  response.setHeader("content-length", Buffer.byteLength(text));
  response.end(text);
}

/** Says what to send instead, where connect answers by a status alone. */
export function explain(response: UniversalServerResponse, path: string): UniversalServerResponse {
  const sentences: Readonly<Record<number, string>> = {
    [HTTP_METHOD_NOT_ALLOWED]: `send POST ${path} with "content-type: application/json" and a body in JSON\n`,
    [HTTP_UNSUPPORTED_MEDIA_TYPE]:
      'send "content-type: application/json" and a body in JSON; or application/proto, or a content type of gRPC or gRPC-Web\n',
  };
  const sentence = sentences[response.status];
  if (sentence === undefined || response.body !== undefined) {
    return response;
  }
  const body = Buffer.from(sentence);
  const header = new Headers(response.header);
  header.set("content-type", TEXT);
  header.set("content-length", String(body.length));
  return { ...response, header, body: createAsyncIterable([body]) };
}

/** Far more than an error of connect's own making has. */
const ERROR_MAX_BYTES = 64 * 1024;
/** What connect's message starts with when a message is not protobuf, not compressed as it says, or not there. */
const CALLERS_FAULT = /^(?:parse binary: |decompression failed|protocol error: missing input message)/;

/**
 * connect answers a body that is no message of the method, or not compressed as it says, with "internal", and one that
 * ends behind its envelope with "unimplemented": that tells callers to retry and operators to look for a bug. Makes it
 * "invalid_argument", as connect has it for JSON and for a message that is shorter than its envelope says.
 */
export async function blameCaller(response: UniversalServerResponse): Promise<UniversalServerResponse> {
  const contentType = new Headers(response.header).get("content-type") ?? "";
  if (response.body === undefined) {
    return response;
  }
  const body = response.body as AsyncIterable<Uint8Array>;
  if (GRPC_WEB.test(contentType)) {
    return { ...response, body: blameInTrailerFrame(body) };
  }
  if (GRPC.test(contentType) && response.trailer !== undefined) {
    return { ...response, body: blameInTrailer(body, response.trailer) };
  }
  return response.status === HTTP_INTERNAL_ERROR ? await blameInBody(response, body) : response;
}

/** gRPC: connect sets the trailer when the body has ended. */
async function* blameInTrailer(body: AsyncIterable<Uint8Array>, trailer: Headers) {
  yield* body;
  if (isCallersFault(trailer.get("grpc-message"))) {
    trailer.set("grpc-status", String(Code.InvalidArgument));
  }
}

const TRAILER_FLAG = 0x80;
const ENVELOPE_BYTES = 5;

/** gRPC-Web: the trailer is the last frame of the body, one piece. */
async function* blameInTrailerFrame(body: AsyncIterable<Uint8Array>) {
  for await (const frame of body) {
    const text =
      frame[0] === TRAILER_FLAG ? Buffer.from(frame.subarray(ENVELOPE_BYTES)).toString("latin1") : "";
    const message = /^grpc-message: *(.*)\r$/m.exec(text)?.[1];
    yield isCallersFault(message)
      ? encodeEnvelope(
          TRAILER_FLAG,
          Buffer.from(text.replace(/^(grpc-status: *)\d+/m, `$1${Code.InvalidArgument}`), "latin1"),
        )
      : frame;
  }
}

/** Connect. */
async function blameInBody(
  response: UniversalServerResponse,
  body: AsyncIterable<Uint8Array>,
): Promise<UniversalServerResponse> {
  const bytes = await readAllBytes(body, ERROR_MAX_BYTES);
  const error = JSON.parse(Buffer.from(bytes).toString()) as { code?: string; message?: string };
  if (error.code !== codeToString(Code.Internal) || !CALLERS_FAULT.test(error.message ?? "")) {
    return { ...response, body: createAsyncIterable([bytes]) };
  }
  const changed = Buffer.from(JSON.stringify({ ...error, code: codeToString(Code.InvalidArgument) }));
  const header = new Headers(response.header);
  header.set("content-length", String(changed.length));
  return { ...response, status: HTTP_BAD_REQUEST, header, body: createAsyncIterable([changed]) };
}

/** Of a grpc-message as connect encodes it. */
function isCallersFault(message: string | null | undefined): boolean {
  return CALLERS_FAULT.test(decodeURIComponent(message ?? ""));
}
