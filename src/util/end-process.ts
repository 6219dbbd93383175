/** Ends the process, also one whose calls to files hang; it stops nothing in order. */

/** What calls to files may still take when the process ends, in milliseconds. */
const FILE_CALLS_MS = 1_000;

/**
 * Ends the process, at once unless a file is just being read or written. process.exit() waits for the threads of such
 * calls, for ever if the disk hangs; so a process that has one for longer kills itself instead.
 */
export function endProcess(status: number): void {
  if (!hasFileCalls()) {
    process.exit(status);
  }
  setTimeout(() => {
    if (hasFileCalls()) {
      process.kill(process.pid, "SIGKILL");
    }
    process.exit(status);
  }, FILE_CALLS_MS);
}

/** Of node:fs and node:fs/promises: FSReqCallback and FSReqPromise. */
function hasFileCalls(): boolean {
  return process.getActiveResourcesInfo().some((resource) => resource.startsWith("FSReq"));
}
