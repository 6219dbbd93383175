/** Keeps what a handler throws from reaching the process; it never looks into a call that goes well. */
import type { Logger } from "pino";
import type { NodeServerRequest, NodeServerResponse } from "./rpc-handler.js";

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
