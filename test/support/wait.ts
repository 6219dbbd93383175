/** Waiting for what a test can only look at, and for faults that are defined by how long they last. */

/** Between two looks; it leaves the processor to what is waited for. */
const PAUSE_MS = 20;

export function delay(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

/**
 * Resolves when `condition` holds; rejects, naming `what`, when it does not within a minute. Prefer an event, such as a
 * line of the log, where there is one.
 */
export async function until(condition: () => boolean | Promise<boolean>, what: string): Promise<void> {
  const deadline = performance.now() + 60_000;
  while (!(await condition())) {
    if (performance.now() > deadline) {
      throw new Error(`waited a minute in vain for ${what}`);
    }
    await delay(PAUSE_MS);
  }
}
