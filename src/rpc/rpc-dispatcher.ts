/** Sends each HTTP request to the method it names, over whichever of the three protocols; knows no method itself. */
import { Code, ConnectError, type ConnectRouter, createConnectRouter } from "@connectrpc/connect";
import type { UniversalHandler, UniversalServerRequest } from "@connectrpc/connect/protocol";
import { universalRequestFromNodeRequest, universalResponseToNodeResponse } from "@connectrpc/connect-node";
import type { Logger } from "pino";
import { type Clock, systemClock } from "../clock.js";
import { type CallerAddress, connectionAddress, connectionOf } from "../server/peer.js";
import type { NodeServerResponse, RpcHandler } from "../server/rpc-handler.js";
import { BodyLimits } from "./body-limits.js";
import { forgetEndlessTimeout } from "./call-timeout.js";
import { noRoomForBody } from "./errors.js";
import { blameCaller } from "./malformed-request.js";
import { peerContext } from "./peer-context.js";
import { PROTOCOL_OPTIONS } from "./protocol-options.js";
import { noteReached, type RequestNotes, requestNotesKey } from "./request-notes.js";

/**
 * Why a request was answered without a method:
 * - `unknown_method`: there is none of that name
 * - `malformed`: its body is not a message of the method, or too large, or its headers ask for what is not known
 */
export type UnhandledReason = "unknown_method" | "malformed";

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
}

/**
 * Makes the handler for the RPC port, the stock lane, out of connect's router. A method's path that is not known gets
 * 404, which each protocol reads as "unimplemented".
 */
export function createRpcDispatcher(deps: RpcDispatcherDeps): RpcHandler {
  const {
    routes,
    logger,
    onUnhandled = () => undefined,
    clock = systemClock,
    callerAddress = connectionAddress,
    limits = new BodyLimits(),
  } = deps;
  const router = createConnectRouter({
    ...PROTOCOL_OPTIONS,
    readMaxBytes: limits.requestMaxBytes,
    interceptors: [noteReached],
  });
  routes(router);
  const handlers = new Map(router.handlers.map((handler) => [handler.requestPath, handler]));
  return (request, response) => {
    const handler = handlers.get(pathOf(request.url ?? ""));
    if (handler === undefined) {
      response.writeHead(404);
      response.end();
      onUnhandled("unknown_method");
      return;
    }
    const notes: RequestNotes = { arrivedAt: clock.elapsed(), hasReachedMethod: false };
    const peer = callerAddress(connectionOf(request), request.headers);
    const values = peerContext(peer).set(requestNotesKey, notes);
    const universal = universalRequestFromNodeRequest(request, response, undefined, values);
    forgetEndlessTimeout(universal.header);
    const body = new UploadReader(universal.body as AsyncIterable<Uint8Array>, limits);
    void answer(handler, { ...universal, body }, response, logger);
    response.once("finish", () => {
      void body.drain();
      if (!notes.hasReachedMethod) {
        onUnhandled("malformed");
      }
    });
    response.once("close", () => body.end());
  };
}

function pathOf(url: string): string {
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

/**
 * Reads the body of a request, and keeps who stops early from ending it: connect would destroy the request then, and
 * Node no longer read from its connection, which the client goes on using.
 */
class UploadReader implements AsyncIterable<Uint8Array> {
  readonly #pieces: AsyncIterator<Uint8Array>;
  readonly #limits: BodyLimits;
  /** What has been read, and is counted. */
  #bytes = 0;
  /** False: what is read is thrown away. */
  #isCounted = true;
  #state: "unread" | "begun" | "ended" = "unread";

  constructor(pieces: AsyncIterable<Uint8Array>, limits: BodyLimits) {
    this.#pieces = pieces[Symbol.asyncIterator]();
    this.#limits = limits;
  }

  [Symbol.asyncIterator](): AsyncIterator<Uint8Array> {
    return { next: () => this.#next() };
  }

  /** Reads what is left of a body that has been read from; Node does so itself with one that has not. Never rejects. */
  async drain(): Promise<void> {
    this.#isCounted = false;
    try {
      while (this.#state === "begun") {
        await this.#next();
      }
    } catch {
      // The client has left; it has its answer, or does not want it.
    }
  }

  /** What was read is no longer counted, nor is what still comes. */
  end(): void {
    this.#isCounted = false;
    this.#limits.leave(this.#bytes);
    this.#bytes = 0;
  }

  /** @throws ConnectError when there is no room for more */
  #count(piece: Uint8Array): void {
    const bytes = this.#bytes + piece.length;
    if (!this.#limits.tryGrow(this.#bytes, bytes)) {
      throw noRoomForBody();
    }
    this.#bytes = bytes;
  }

  async #next(): Promise<IteratorResult<Uint8Array>> {
    this.#state = "begun";
    const piece = await this.#pieces.next();
    if (piece.done === true) {
      this.#state = "ended";
    } else if (this.#isCounted) {
      this.#count(piece.value);
    }
    return piece;
  }
}
