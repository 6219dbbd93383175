import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { AdminServer } from "../../../src/server/admin-server.js";
import { Health } from "../../../src/server/health.js";
import { statusPageRoutes } from "../../../src/telemetry/status-page.js";
import { webDirectory } from "../../../src/util/package-info.js";
import { walkPage } from "../../support/page-walk.js";
import { silent } from "../../support/rpc-port.js";

let admin: AdminServer;
let url: string;
beforeAll(async () => {
  const health = new Health();
  admin = new AdminServer({ host: "127.0.0.1", port: 0, health, logger: silent, routes: statusPageRoutes });
  url = `http://127.0.0.1:${(await admin.listen()).port}/`;
});
afterAll(() => admin.close());

test("the page and all that it loads are served, each as what it is, and there is nothing else", async () => {
  const files = [...(await readdir(join(webDirectory, "status"))), "icon.svg", "shared.css"];
  expect(await walkPage(url)).toEqual(files.sort());
});

test("nothing else of the folder, or outside it, can be had", async () => {
  for (const path of ["index.html", "..%2fpackage.json", "web/status/status.js"]) {
    expect((await fetch(url + path)).status).toBe(404);
  }
});
