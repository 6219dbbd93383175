import { readdir } from "node:fs/promises";
import { connect } from "node:http2";
import { join } from "node:path";
import { serveCountsPage } from "../../../src/server/counts-page.js";
import { webDirectory } from "../../../src/util/package-info.js";
import { walkPage } from "../../support/page-walk.js";
import { openRpcPort, type RpcPort, silent } from "../../support/rpc-port.js";

const TEAPOT = 418;

let port: RpcPort;
beforeAll(async () => {
  port = await openRpcPort(
    serveCountsPage((_, response) => {
      response.writeHead(TEAPOT);
      response.end();
    }, silent),
  );
});
afterAll(() => port.server.close());

test("the page and all that it loads are served, each as what it is, and there is nothing else", async () => {
  const own = await readdir(join(webDirectory, "counts"));
  expect(await walkPage(`${port.url}/`)).toEqual(
    [...own, "icon.svg", "shared.css", "uplot.css", "uplot.js"].sort(),
  );
});

test("a browser may load and run only what this port serves, and may frame nothing", async () => {
  const { headers } = await fetch(port.url);
  expect(headers.get("content-security-policy")).toBe(
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; " +
      "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'",
  );
  expect(headers.get("x-content-type-options")).toBe("nosniff");
  expect(headers.get("referrer-policy")).toBe("no-referrer");
});

test("a browser that has a file is told that it is still the same, and loads it anew when it is not", async () => {
  const first = await fetch(`${port.url}/counts.js`);
  expect(first.headers.get("cache-control")).toBe("no-cache");
  const etag = first.headers.get("etag") ?? "";
  await first.text();
  const headers = (known: string) => ({ headers: { "if-none-match": known } });
  const again = await fetch(`${port.url}/counts.js`, headers(`W/"older", ${etag}`));
  expect([again.status, await again.text(), again.headers.get("etag")]).toEqual([304, "", etag]);
  const other = await fetch(`${port.url}/counts.js`, headers('"older"'));
  expect([other.status, (await other.text()).length > 0]).toEqual([200, true]);
});

test("the page is at its address whatever view the query asks for", async () => {
  const page = await (await fetch(port.url)).text();
  expect(page).toContain("<title>Counts");
  expect(await (await fetch(`${port.url}/?property=news&zone=Europe/Berlin`)).text()).toBe(page);
});

test("HEAD gets the headers alone", async () => {
  const answer = await fetch(port.url, { method: "HEAD" });
  expect([answer.status, await answer.text()]).toEqual([200, ""]);
  expect(Number(answer.headers.get("content-length"))).toBeGreaterThan(1_000);
});

test.each([
  ["POST", "/"],
  ["GET", "/index.html"],
  ["GET", "/web/counts/counts.js"],
  ["GET", "/..%2fpackage.json"],
  ["GET", "/stats.v1.CountsService/QueryTop"],
])("the handler gets %s %s", async (method, path) => {
  expect((await fetch(port.url + path, { method })).status).toBe(TEAPOT);
});

test("HTTP/2 gets the page, too", async () => {
  const session = connect(port.url);
  const stream = session.request({ ":path": "/?range=30d" });
  let body = "";
  const status = await new Promise((resolve, reject) => {
    stream.on("error", reject).on("response", (headers) => resolve(headers[":status"]));
  });
  for await (const part of stream.setEncoding("utf8")) {
    body += part;
  }
  session.close();
  expect([status, body.includes("<title>Counts")]).toEqual([200, true]);
});
