/** The live page for people, the files of `web/status/`; it hands them out, and the page asks `/status` by itself. */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import type { AdminRoute } from "../server/admin-server.js";
import { webDirectory } from "../util/package-info.js";

/** Where each file is served, and as what. The page names the others by these paths. */
const FILES = [
  ["/", "index.html", "text/html"],
  ["/status.css", "status.css", "text/css"],
  ["/status.js", "status.js", "text/javascript"],
  ["/samples.js", "samples.js", "text/javascript"],
  ["/words.js", "words.js", "text/javascript"],
] as const;

/** A route for each file. It is read when it is asked for: few ask, and the service starts without it. */
export const statusPageRoutes: Readonly<Record<string, AdminRoute>> = Object.fromEntries(
  FILES.map(([path, file, type]) => [
    path,
    async () => ({
      status: 200,
      contentType: `${type}; charset=utf-8`,
      body: await readFile(join(webDirectory, "status", file), "utf8"),
    }),
  ]),
);
