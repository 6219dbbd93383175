/** For `node --import`: at SIGUSR2 standard output becomes a full disk, for good. */
import { closeSync, openSync } from "node:fs";

process.on("SIGUSR2", () => {
  closeSync(1);
  // The lowest number that is free: 1 again.
  openSync("/dev/full", "w");
});
