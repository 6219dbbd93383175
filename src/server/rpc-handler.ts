/** What answers a request of either protocol, as a type, and the guard around it. */
import type { IncomingMessage, ServerResponse } from "node:http";
import type { IncomingHttpHeaders, ServerHttp2Stream } from "node:http2";
import type { connectNodeAdapter } from "@connectrpc/connect-node";
import type { Logger } from "pino";

/** Answers one HTTP request, as the handler that connectNodeAdapter makes does. */
export type RpcHandler = ReturnType<typeof connectNodeAdapter>;

/** A request over HTTP/1.1 or HTTP/2. */
export type NodeServerRequest = Parameters<RpcHandler>[0];

/** The response to a {@link NodeServerRequest}. */
export type NodeServerResponse = Parameters<RpcHandler>[1];

/**
 * Sees each request before the {@link RpcHandler} and takes those that it can answer at less cost. False: it has
 * neither read nor written anything, and the handler gets the request.
 */
export interface RpcFastLane {
  takeRequest(request: IncomingMessage, response: ServerResponse): boolean;
  /** For HTTP/2 it gets the stream itself, without Node's compatibility layer. */
  takeStream(stream: ServerHttp2Stream, headers: IncomingHttpHeaders, rawHeaders: readonly string[]): boolean;
}

/**
 * `handler`, with an answer for what it throws: 400 where the path or the authority is no part of a URL, which
 * connect-node's conversion of a request throws on, and 500 for anything else.
 */
export function guardHandler<Q extends NodeServerRequest, S extends NodeServerResponse>(
  handler: (req: Q, res: S) => void,
  logger: Logger,
): (req: Q, res: S) => void {
  return (req, res) => {
    try {
      handler(req, res);
    } catch (err) {
      refuse(err, req, res, logger);
    }
  };
}

function refuse(err: unknown, req: NodeServerRequest, res: NodeServerResponse, logger: Logger): void {
  const authority = "authority" in req ? req.authority : req.headers.host;
  const malformed = authority === undefined || !URL.canParse(req.url ?? "", `http://${authority}`);
  if (malformed) {
    logger.debug({ err }, "refused a malformed request");
  } else {
    logger.error({ err }, "the handler of a request threw");
  }
  if (!res.headersSent) {
    res.writeHead(malformed ? 400 : 500);
  }
  res.end();
}
