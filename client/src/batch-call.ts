/**
 * Calls PushBatch by Connect over `fetch`, and nothing else: a page that counts needs no more of Connect, and is spared two
 * thirds of its code; it never retries.
 */
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { base64Decode } from "@bufbuild/protobuf/wire";
import { Code, ConnectError } from "@connectrpc/connect";
import {
  PushBatchRequestSchema,
  type PushBatchResponse,
  PushBatchResponseSchema,
} from "../../gen/stats/v1/stats_pb.js";
import type { BatchPusher } from "./batch-sender.js";
import type { CallFetch } from "./call-fetch.js";

const METHOD_PATH = "/stats.v1.StatsService/PushBatch";
const CONTENT_TYPE = "application/proto";

/** By HTTP status, of an answer that is none of Connect's. Source: https://connectrpc.com/docs/protocol#http-to-error-code */
const CODES: Readonly<Record<number, Code>> = {
  400: Code.Internal,
  401: Code.Unauthenticated,
  403: Code.PermissionDenied,
  404: Code.Unimplemented,
  429: Code.Unavailable,
  502: Code.Unavailable,
  503: Code.Unavailable,
  504: Code.Unavailable,
};

/** Calls of the service at `baseUrl`; each rejects with a ConnectError, or with the reason of its signal. */
export function createBatchCall(baseUrl: string, fetch: CallFetch): BatchPusher {
  return {
    pushBatch: async (request, { signal, timeoutMs, keepalive }) => {
      const call = new AbortController();
      const giveUp = () => call.abort(signal.reason);
      signal.addEventListener("abort", giveUp);
      if (signal.aborted) {
        giveUp();
      }
      const timer = setTimeout(() => call.abort(timedOut(timeoutMs)), timeoutMs);
      try {
        const response = await fetch(baseUrl + METHOD_PATH, {
          method: "POST",
          headers: {
            "content-type": CONTENT_TYPE,
            "connect-protocol-version": "1",
            "connect-timeout-ms": `${timeoutMs}`,
          },
          body: toBinary(PushBatchRequestSchema, create(PushBatchRequestSchema, request)),
          signal: call.signal,
          keepalive,
        });
        return await readAnswer(response);
      } finally {
        clearTimeout(timer);
        signal.removeEventListener("abort", giveUp);
      }
    },
  };
}

function timedOut(timeoutMs: number): ConnectError {
  return new ConnectError(`no answer within ${timeoutMs} ms`, Code.DeadlineExceeded);
}

async function readAnswer(response: Response): Promise<PushBatchResponse> {
  const { status, headers } = response;
  const type = headers.get("content-type") ?? "";
  if (status !== 200) {
    const error = new ConnectError(`HTTP ${status}`, CODES[status] ?? Code.Unknown, headers);
    throw type.startsWith("application/json") ? errorOf(await response.text(), error) : error;
  }
  if (type !== CONTENT_TYPE) {
    throw new ConnectError(`the answer has the content type "${type}", not ${CONTENT_TYPE}`, Code.Unknown);
  }
  return fromBinary(PushBatchResponseSchema, new Uint8Array(await response.arrayBuffer()));
}

interface ErrorJson {
  readonly code?: string;
  readonly message?: string;
  readonly details?: readonly { readonly type: string; readonly value: string }[];
}

/** The error that Connect's JSON tells, or `fallback`. Source: https://connectrpc.com/docs/protocol#error-end-stream */
function errorOf(json: string, fallback: ConnectError): ConnectError {
  try {
    const { code = "", message = "", details = [] } = JSON.parse(json) as ErrorJson;
    const error = new ConnectError(message, codeOf(code) ?? fallback.code, fallback.metadata);
    error.details = details.map(({ type, value }) => ({ type, value: base64Decode(value) }));
    return error;
  } catch {
    return fallback;
  }
}

/** On the wire a code has the name `invalid_argument`, in connect `InvalidArgument`. */
function codeOf(name: string): Code | undefined {
  const words = name.split("_");
  const pascal = words.map((word) => word.charAt(0).toUpperCase() + word.slice(1)).join("");
  const code: unknown = Code[pascal as keyof typeof Code];
  return typeof code === "number" ? code : undefined;
}
