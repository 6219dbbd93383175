/**
 * The stock lane: sends each HTTP request through connect's router to the method that it names, over whichever of the
 * three protocols.
 */
import type { DescMethod } from "@bufbuild/protobuf";
import {
  Code,
  ConnectError,
  type ConnectRouter,
  type ContextValues,
  createConnectRouter,
  createContextKey,
  createContextValues,
  type Interceptor,
} from "@connectrpc/connect";
import type { UniversalHandler, UniversalServerRequest } from "@connectrpc/connect/protocol";
import { universalRequestFromNodeRequest, universalResponseToNodeResponse } from "@connectrpc/connect-node";
import type { Logger } from "pino";
import { type CallerAddress, connectionAddress, connectionOf } from "../server/caller-address.js";
import type { NodeServerResponse, RpcHandler } from "../server/rpc-handler.js";
import { type Clock, systemClock } from "../util/clock.js";
import type { RefusesByHeader } from "./authentication.js";
import { BodyLimits, CallSlots, StreamingCalls } from "./limits.js";
import { forgetEndlessTimeout, PROTOCOL_OPTIONS } from "./protocol-options.js";
import { answerTooManyCalls, answerUnknownMethod, blameCaller, explain } from "./refused-requests.js";
import { UploadReader } from "./request-body.js";

/** Why a request was answered without a method: the label `reason` of the metrics. */
export const UNHANDLED_REASONS = [
  /** There is none of that name. */
  "unknown_method",
  /** Its body is not a message of the method, or too large, or its headers ask for what is not known. */
  "malformed",
  /** As many calls are open on the stock lane as may, or the caller has its share, or its connection its streams. */
  "too_many_calls",
  /** There was no room for its body. */
  "too_many_large_requests",
  /** Its header already showed that it has no valid token. */
  "unauthenticated",
] as const;

export type UnhandledReason = (typeof UNHANDLED_REASONS)[number];

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
  /** Most calls that are open at a time; default: 4,096. */
  readonly maxCalls?: number;
}

const HTTP_METHOD_NOT_ALLOWED = 405;
/** Of a path that may be anything, in characters. */
const PATH_LOGGED_MAX = 100;

/**
 * Makes the handler for the RPC port, the stock lane, out of connect's router. Callers, told apart by their addresses, share the calls that may be
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
    maxCalls,
  } = deps;
  const slots = new CallSlots(maxCalls);
  const streams = new StreamingCalls();
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
      answerUnknownMethod(request, response);
      noteUnhandled(path, "unknown_method");
      return;
    }
    const address = callerAddress(connectionOf(request), request.headers);
    const isStreaming = handler.method.methodKind !== "unary";
    const leaveStreams = isStreaming ? streams.take(connectionOf(request)) : ignore;
    const leave = leaveStreams && slots.take(Buffer.from(address).toString("latin1"));
    if (leaveStreams === undefined || leave === undefined) {
      leaveStreams?.();
      answerTooManyCalls(response);
      noteUnhandled(path, "too_many_calls");
      return;
    }
    response.once("close", () => {
      leave();
      leaveStreams();
    });
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

function ignore(): void {}

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
    const universalResponse = explain(await blameCaller(await handler(request)), handler.requestPath);
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

/** Notes on one request. */
export interface RequestNotes {
  /** The caller's address in PostgreSQL's binary inet form; no bytes when it is not known. */
  readonly address: Uint8Array;
  /** When its header had come, by `Clock.elapsed`. */
  readonly arrivedAt: number;
  /** A method got its message, or its stream of messages. */
  hasReachedMethod: boolean;
}

const notesKey = createContextKey<RequestNotes | undefined>(undefined);

/** The context values of a request with these notes. */
export function withNotes(notes: RequestNotes): ContextValues {
  return createContextValues().set(notesKey, notes);
}

/** The notes on the request that a context belongs to. The dispatcher makes every context with some. */
export function notesOf(values: ContextValues): RequestNotes {
  const notes = values.get(notesKey);
  if (notes === undefined) {
    throw new Error("a request came past the dispatcher");
  }
  return notes;
}

/** Notes that a request has reached its method. */
export const noteReached: Interceptor = (next) => (request) => {
  notesOf(request.contextValues).hasReachedMethod = true;
  return next(request);
};
