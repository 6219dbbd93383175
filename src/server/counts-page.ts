/** The page at `/` of the RPC port, which shows people what was counted: the files of `web/counts/`, which ask by RPC. */
import { createHash } from "node:crypto";
import { createRequire } from "node:module";
import type { Logger } from "pino";
import type { NodeServerRequest, NodeServerResponse, RpcHandler } from "./rpc-handler.js";
import { BROWSER_HEADERS, pageFiles, readWebFile, type WebFile, webFile } from "./web-files.js";

const { resolve } = createRequire(import.meta.url);

const FILES: readonly WebFile[] = [
  ...pageFiles("counts", [
    "index.html",
    "counts.css",
    "counts.js",
    "api.js",
    "controls.js",
    "csv.js",
    "dom.js",
    "list-panel.js",
    "load.js",
    "panels.js",
    "plot.js",
    "plot-style.js",
    "range.js",
    "series-panel.js",
    "sparkline.js",
    "ticks.js",
    "token.js",
    "view.js",
    "words.js",
    "zone.js",
  ]),
  webFile("/uplot.js", resolve("uplot/dist/uPlot.iife.min.js")),
  webFile("/uplot.css", resolve("uplot/dist/uPlot.min.css")),
];

interface Asset {
  readonly headers: Readonly<Record<string, string | number>>;
  readonly etag: string;
  readonly body: Buffer;
}

const METHODS: ReadonlySet<string | undefined> = new Set(["GET", "HEAD"]);
const HTTP_OK = 200;
const HTTP_NOT_MODIFIED = 304;
const HTTP_INTERNAL_ERROR = 500;

/**
 * Puts the page in front of a handler, which gets every request that is not for one of its files. Browsers keep the
 * files and ask each time whether they are still the same, so a page never runs with scripts of another version.
 */
export function serveCountsPage(handler: RpcHandler, logger: Logger): RpcHandler {
  const files = new Map(FILES.map((file) => [file.path, file]));
  const assets = new Map<WebFile, Promise<Asset>>();
  return (request, response) => {
    const file = METHODS.has(request.method) ? files.get(pathOf(request.url ?? "")) : undefined;
    if (file === undefined) {
      handler(request, response);
      return;
    }
    const asset = assets.get(file) ?? readAsset(file);
    assets.set(file, asset);
    asset.then(
      (read) => send(read, request, response),
      (err: unknown) => {
        assets.delete(file);
        logger.error({ err, path: file.path }, "a file of the counts page cannot be read");
        response.writeHead(HTTP_INTERNAL_ERROR);
        response.end();
      },
    );
  };
}

async function readAsset(file: WebFile): Promise<Asset> {
  const body = Buffer.from(await readWebFile(file));
  const etag = `"${createHash("sha256").update(body).digest("base64url")}"`;
  return {
    body,
    etag,
    headers: {
      "content-type": file.contentType,
      "content-length": body.length,
      "cache-control": "no-cache",
      etag,
      ...BROWSER_HEADERS,
    },
  };
}

function send(
  { body, etag, headers }: Asset,
  request: NodeServerRequest,
  response: NodeServerResponse,
): void {
  if (request.headers["if-none-match"]?.includes(etag) === true) {
    response.writeHead(HTTP_NOT_MODIFIED, { etag, "cache-control": "no-cache" });
    response.end();
    return;
  }
  response.writeHead(HTTP_OK, headers);
  response.end(request.method === "HEAD" ? "" : body);
}

function pathOf(target: string): string {
  const query = target.indexOf("?");
  return query === -1 ? target : target.slice(0, query);
}
