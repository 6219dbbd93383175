/** The live page for people, the files of `web/status/`; it hands them out, and the page asks `/status` by itself. */
import type { AdminRoute } from "../server/admin-server.js";
import { pageFiles, readWebFile } from "../server/web-files.js";

const FILES = pageFiles("status", ["index.html", "status.css", "status.js", "samples.js", "words.js"]);

/** A route for each file. It is read when it is asked for: few ask, and the service starts without it. */
export const statusPageRoutes: Readonly<Record<string, AdminRoute>> = Object.fromEntries(
  FILES.map((file) => [
    file.path,
    async () => ({ status: 200, contentType: file.contentType, body: await readWebFile(file) }),
  ]),
);
