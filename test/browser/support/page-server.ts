/** An origin with a page whose scripts can import the built client, as after an application's build; it takes no calls. */
import { once } from "node:events";
import { readFile } from "node:fs/promises";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";

const ROOT = join(import.meta.dirname, "../../..");
const SCENARIOS = "/test/browser/scenarios.js";
/** What the page's scripts may load. */
const SERVED = /^\/(client\/dist|node_modules\/(@bufbuild|@connectrpc))\/[\w@./-]+\.js$/;

/** A page's origin, for as long as it is not disposed of. */
export class PageServer implements AsyncDisposable {
  readonly #server: Server;
  readonly #page: string;

  private constructor(page: string) {
    this.#page = page;
    this.#server = createServer((req, res) => void this.#answer(req, res));
  }

  static async start(): Promise<PageServer> {
    const pages = new PageServer(await page());
    pages.#server.listen(0, "127.0.0.1");
    await once(pages.#server, "listening");
    return pages;
  }

  /** For example `http://127.0.0.1:41234`. */
  get origin(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.close();
    this.#server.closeAllConnections();
    await once(this.#server, "close");
  }

  async #answer({ url = "" }: IncomingMessage, res: ServerResponse): Promise<void> {
    if (url === "/") {
      res.writeHead(200, { "content-type": "text/html" }).end(this.#page);
    } else if (url === SCENARIOS || (SERVED.test(url) && !url.includes(".."))) {
      res.writeHead(200, { "content-type": "text/javascript" }).end(await readFile(join(ROOT, url)));
    } else {
      res.writeHead(url === "/favicon.ico" ? 204 : 404).end();
    }
  }
}

/** The import map stands for what a bundler does: it says which file a package's name means. */
async function page(): Promise<string> {
  const imports = {
    ...(await importsOf("@stats-service/client", "/client")),
    ...(await importsOf("@bufbuild/protobuf")),
    ...(await importsOf("@connectrpc/connect")),
    ...(await importsOf("@connectrpc/connect-web")),
  };
  return `<!doctype html>
    <title>A page that counts</title>
    <script type="importmap">${JSON.stringify({ imports })}</script>
    <script type="module">import * as scenarios from "${SCENARIOS}"; globalThis.scenarios = scenarios;</script>`;
}

/** The modules of a package, which the server has in `folder`, by the names that are imported. */
async function importsOf(name: string, folder = `/node_modules/${name}`): Promise<Record<string, string>> {
  const manifest = await readFile(join(ROOT, folder, "package.json"), "utf8");
  const { exports } = JSON.parse(manifest) as {
    exports: Record<string, { readonly import?: string | { readonly default: string } }>;
  };
  return Object.fromEntries(
    Object.entries(exports).flatMap(([subpath, { import: target }]) => {
      const file = typeof target === "object" ? target.default : target;
      return file === undefined ? [] : [[join(name, subpath), join(folder, file)]];
    }),
  );
}
