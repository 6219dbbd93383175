/** Waiting, for faults that are defined by how long they last. */

export function delay(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

/** Resolves when `condition` holds; asks every 20 ms, for at most a minute. */
export async function until(condition: () => boolean | Promise<boolean>, what: string): Promise<void> {
  const deadline = performance.now() + 60_000;
  while (!(await condition())) {
    if (performance.now() > deadline) {
      throw new Error(`waited a minute in vain for ${what}`);
    }
    await delay(20);
  }
}
