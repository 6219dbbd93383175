/** Ends what a container holds, in the one order that loses nothing: the reverse of the order it was made in. */
import type { AwilixContainer } from "awilix";

/**
 * Runs the disposers of all singletons that were resolved, one after the other, the last resolved first, and
 * empties the cache. What uses a thing is resolved after it, so it ends before it: the port before the Flusher,
 * the Flusher before the pool, the pool before the database. (awilix's own `dispose` runs them all at once,
 * see https://github.com/jeffijoe/awilix/issues/429.)
 *
 * A disposer that fails does not keep the others from running; all failures are thrown together at the end.
 */
export async function disposeInReverse(container: AwilixContainer): Promise<void> {
  // awilix adds a singleton to the cache when its factory has returned, so after what it depends on.
  const entries = [...container.cache.values()].reverse();
  container.cache.clear();
  const failures: unknown[] = [];
  for (const { resolver, value } of entries) {
    try {
      await (resolver as { dispose?: (value: unknown) => unknown }).dispose?.(value);
    } catch (error) {
      failures.push(error);
    }
  }
  if (failures.length > 0) {
    throw new AggregateError(failures, "not everything could be ended in order");
  }
}
