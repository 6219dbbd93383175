/** What `npm start` runs: builds what is older than its sources, then runs the service in this process. */
import { spawnSync } from "node:child_process";
import cluster from "node:cluster";

const PARENT_LOOK_MS = 500;

if (cluster.isPrimary) {
  build();
  stopWithParent();
}
await import("../dist/src/main.js");

/** Not by a prestart script, which npm leaves out where ignore-scripts is set. Compiles only what has changed. */
function build() {
  const { status } = spawnSync("npm", ["run", "--silent", "build"], {
    stdio: "inherit",
    shell: process.platform === "win32",
  });
  if (status !== 0) {
    process.exit(status ?? 1);
  }
}

/**
 * npm passes a signal on to the shell that it started us by, and the shell may end without passing it on: then the
 * service would go on, as a child of nobody. So it stops in order when its parent is gone.
 */
function stopWithParent() {
  const parent = process.ppid;
  const watch = setInterval(() => {
    if (process.ppid !== parent) {
      clearInterval(watch);
      process.kill(process.pid, "SIGTERM");
    }
  }, PARENT_LOOK_MS);
  watch.unref();
  for (const signal of ["SIGINT", "SIGTERM"]) {
    // It stops already, and a second signal would end it at once.
    process.once(signal, () => clearInterval(watch));
  }
}
