/**
 * How the parts of a container begin and end. Parts are made when they are first asked for, so the order of a start is
 * the order in which `Service` and `Primary` ask for them, and {@link disposeInReverse} ends them in the reverse of it:
 *
 *     start  admin port · embedded database · buffer · pool · jobs (Flusher, replay, upkeep, counts) · RPC port
 *     stop   RPC port: calls in flight are answered · jobs: the replay ends, the Flusher writes what is queued or puts
 *            it into the buffer · pool: nobody writes any more · buffer · embedded database · admin port: it told how
 *            the stop went
 */
import { type AwilixContainer, createContainer, InjectionMode } from "awilix";
import { type BackgroundJob, isJob } from "./parts/part.js";
import type { ServiceCradle } from "./service-cradle.js";

/** Makes all background jobs, without starting them, in the order of their registration. */
export function resolveJobs(container: AwilixContainer<ServiceCradle>): BackgroundJob[] {
  return Object.entries(container.registrations)
    .filter(([, registration]) => isJob(registration))
    .map(([name]) => container.resolve<BackgroundJob | undefined>(name))
    .filter((job) => job !== undefined);
}

/** A part if it was made already: whoever ends things must not make them for that. */
export function ifMade<Cradle extends object, Name extends keyof Cradle>(
  container: AwilixContainer<Cradle>,
  name: Name,
): Cradle[Name] | undefined {
  return container.cache.get(name as string)?.value as Cradle[Name] | undefined;
}

export function emptyContainer<Cradle extends object>(): AwilixContainer<Cradle> {
  return createContainer<Cradle>({ injectionMode: InjectionMode.PROXY, strict: true });
}

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
