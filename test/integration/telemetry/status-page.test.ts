import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { AdminServer } from "../../../src/server/admin-server.js";
import { Health } from "../../../src/server/health.js";
import { statusPageRoutes } from "../../../src/telemetry/status-page.js";
import { webDirectory } from "../../../src/util/package-info.js";
import { silent } from "../../support/rpc-port.js";

let admin: AdminServer;
let url: string;
beforeAll(async () => {
  const health = new Health();
  admin = new AdminServer({ host: "127.0.0.1", port: 0, health, logger: silent, routes: statusPageRoutes });
  url = `http://127.0.0.1:${(await admin.listen()).port}/`;
});
afterAll(() => admin.close());

const TYPES = { html: "text/html", css: "text/css", js: "text/javascript" } as const;

/** The files that a page or a script names. */
function namedIn(text: string): string[] {
  return [...text.matchAll(/(?:href|src)="([^"]+\.\w+)"|^import .* from "\.\/([^"]+)"/gm)].map(
    ([, linked, imported]) => linked ?? imported ?? "",
  );
}

test("the page and all that it loads are served, each as what it is, and there is nothing else", async () => {
  const visited = new Set<string>();
  const open = ["index.html"];
  for (let file = open.pop(); file !== undefined; file = open.pop()) {
    if (visited.has(file)) {
      continue;
    }
    visited.add(file);
    const answer = await fetch(new URL(file === "index.html" ? "" : file, url));
    const type = TYPES[file.split(".").at(-1) as keyof typeof TYPES];
    expect([file, answer.status, answer.headers.get("content-type")]).toEqual([
      file,
      200,
      `${type}; charset=utf-8`,
    ]);
    open.push(...namedIn(await answer.text()));
  }
  expect([...visited].sort()).toEqual((await readdir(join(webDirectory, "status"))).sort());
});

test("nothing else of the folder, or outside it, can be had", async () => {
  for (const path of ["index.html", "..%2fpackage.json", "web/status/status.js"]) {
    expect((await fetch(url + path)).status).toBe(404);
  }
});
