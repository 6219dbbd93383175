/** Sends each HTTP request to the method it names, over whichever of the three protocols; knows no method itself. */
import type { DescMethod } from "@bufbuild/protobuf";
import { Code, ConnectError, type ConnectRouter, createConnectRouter } from "@connectrpc/connect";
import type { UniversalHandler, UniversalServerRequest } from "@connectrpc/connect/protocol";
import { universalRequestFromNodeRequest, universalResponseToNodeResponse } from "@connectrpc/connect-node";
import type { Logger } from "pino";
import { type CallerAddress, connectionAddress, connectionOf } from "../server/peer.js";
import type { NodeServerResponse, RpcHandler } from "../server/rpc-handler.js";
import { type Clock, systemClock } from "../util/clock.js";
import type { RefusesByHeader } from "./authentication.js";
import { BodyLimits } from "./body-limits.js";
import { CallSlots, DEFAULT_MAX_STOCK_CALLS } from "./call-slots.js";
import { forgetEndlessTimeout } from "./call-timeout.js";
import { blameCaller } from "./malformed-request.js";
import { PROTOCOL_OPTIONS } from "./protocol-options.js";
import { noteReached, type RequestNotes, withNotes } from "./request-notes.js";
import { UploadReader } from "./upload-reader.js";

/**
 * Why a request was answered without a method:
 * - `unknown_method`: there is none of that name
 * - `malformed`: its body is not a message of the method, or too large, or its headers ask for what is not known
 * - `too_many_calls`: as many calls are open on the stock lane as may, or the caller has its share of them
 * - `too_many_large_requests`: there was no room for its body
 * - `unauthenticated`: its header already showed that it has no valid token
 */
export type UnhandledReason =
  | "unknown_method"
  | "malformed"
  | "too_many_calls"
  | "too_many_large_requests"
  | "unauthenticated";

export interface RpcDispatcherDeps {
  readonly routes: (router: ConnectRouter) => void;
  readonly logger: Logger;
  /** Hears of each request that was answered without a method. Default: nobody does. */
  readonly onUnhandled?: ((reason: UnhandledReason) => void) | undefined;
  /** Default: the machine's. */
  readonly clock?: Clock;
  /** Default: that of the connection. */
  readonly callerAddress?: CallerAddress;
  /** Default: limits of its own. */
  readonly limits?: BodyLimits;
  /** Calls that are refused before their message is read. Default: none. */
  readonly refusesByHeader?: RefusesByHeader | undefined;
  /** Most calls that are open at a time; see {@link DEFAULT_MAX_STOCK_CALLS}, the default. */
  readonly maxCalls?: number;
}

/** What each protocol reads as "unavailable": try again. */
const HTTP_SERVICE_UNAVAILABLE = 503;
const HTTP_METHOD_NOT_ALLOWED = 405;
/** Of a path that may be anything, in characters. */
const PATH_LOGGED_MAX = 100;

/**
 * Makes the handler for the RPC port, the stock lane, out of connect's router. A method's path that is not known gets
 * 404, which each protocol reads as "unimplemented". Callers, told apart by their addresses, share the calls that may be
 * open.
 */
export function createRpcDispatcher(deps: RpcDispatcherDeps): RpcHandler {
  const {
    routes,
    logger,
    onUnhandled = () => undefined,
    clock = systemClock,
    callerAddress = connectionAddress,
    limits = new BodyLimits(),
    refusesByHeader = () => false,
    maxCalls = DEFAULT_MAX_STOCK_CALLS,
  } = deps;
  const slots = new CallSlots(maxCalls);
  const router = createConnectRouter({
    ...PROTOCOL_OPTIONS,
    readMaxBytes: limits.requestMaxBytes,
    interceptors: [noteReached],
  });
  routes(router);
  const handlers = new Map(router.handlers.map((handler) => [handler.requestPath, handler]));
  const noteUnhandled = (path: string, reason: UnhandledReason) => {
    logger.debug({ path: path.slice(0, PATH_LOGGED_MAX), reason }, "a request reached no method");
    onUnhandled(reason);
  };
  return (request, response) => {
    const path = pathOf(request.url ?? "");
    const handler = handlers.get(path);
    if (handler === undefined) {
      response.writeHead(404);
      response.end();
      noteUnhandled(path, "unknown_method");
      return;
    }
    const address = callerAddress(connectionOf(request), request.headers);
    const leave = slots.take(Buffer.from(address).toString("latin1"));
    if (leave === undefined) {
      response.writeHead(HTTP_SERVICE_UNAVAILABLE, { "retry-after": "1" });
      response.end();
      noteUnhandled(path, "too_many_calls");
      return;
    }
    response.once("close", leave);
    const notes: RequestNotes = { address, arrivedAt: clock.elapsed(), hasReachedMethod: false };
    const universal = universalRequestFromNodeRequest(request, response, undefined, withNotes(notes));
    forgetEndlessTimeout(universal.header);
    const isRefused = refusesByHeader(path, request.headers.authorization);
    const body = new UploadReader({
      pieces: universal.body as AsyncIterable<Buffer>,
      source: response,
      limits,
      contentLength: request.headers["content-length"],
      isOneMessage: ONE_MESSAGE_KINDS.has(handler.method.methodKind),
      isEnveloped: ENVELOPED_TYPES.test(request.headers["content-type"] ?? ""),
      isRefused,
    });
    void answer(handler, { ...universal, body }, response, logger);
    // Node's compatibility layer tells "finish" when the stream is closed, for which its body must be read first.
    const output = "stream" in response ? response.stream : response;
    output.once("finish", () => {
      void body.drain();
      // To one who has left before the message was whole nothing was answered.
      if (!notes.hasReachedMethod && !request.aborted) {
        const reason = body.hadRoom ? "malformed" : "too_many_large_requests";
        noteUnhandled(path, isRefused ? "unauthenticated" : reason);
      }
    });
  };
}

/** Kinds of methods whose clients send a single message. */
const ONE_MESSAGE_KINDS: ReadonlySet<DescMethod["methodKind"]> = new Set(["unary", "server_streaming"]);

/** Content types of protocols that put its length before each message. */
const ENVELOPED_TYPES = /^application\/(?:grpc|connect\+)/;

/** A target may be a whole URL, as for a proxy (RFC 9112, section 3.2.2). */
const ORIGIN = /^https?:\/\/[^/?]+/i;

function pathOf(target: string): string {
  const url = target.replace(ORIGIN, "");
  const query = url.indexOf("?");
  return query === -1 ? url : url.slice(0, query);
}

async function answer(
  handler: UniversalHandler,
  request: UniversalServerRequest,
  response: NodeServerResponse,
  logger: Logger,
): Promise<void> {
  try {
    const universalResponse = await blameCaller(await handler(request));
    if (universalResponse.status === HTTP_METHOD_NOT_ALLOWED) {
      // RFC 9110, section 15.5.6.
      response.setHeader("allow", handler.allowedMethods.join(", "));
    }
    await universalResponseToNodeResponse(universalResponse, response);
  } catch (error) {
    // The caller is gone, so nobody is left to tell; anything else is a bug worth a look.
    const isAborted = ConnectError.from(error).code === Code.Aborted;
    logger[isAborted ? "debug" : "error"](
      { err: error, path: handler.requestPath },
      "a call ended without an answer",
    );
    response.destroy();
  }
}
