/** What a service needs of its container, whatever its role; and how parts are asked for, and ended in the one order that loses nothing. */
import { type AwilixContainer, createContainer, InjectionMode } from "awilix";
import type { CountQueries } from "../counts/count-queries.js";
import type { EmbeddedPostgres } from "../postgres/embedded.js";
import type { Schema } from "../postgres/schema.js";
import type { Sink } from "../sink/sink.js";
import type { DatabaseReading } from "../telemetry/service-status.js";
import type { AdminParts } from "./parts/admin.js";
import type { BufferParts } from "./parts/buffer.js";
import type { IngestParts } from "./parts/ingest.js";
import { type BackgroundJob, isJob } from "./parts/part.js";
import type { ProcessParts } from "./parts/process.js";
import type { RpcParts } from "./parts/rpc.js";

/** What an edge does without, since it has no database. */
interface DatabaseOfService {
  readonly embeddedPostgres: EmbeddedPostgres | undefined;
  readonly schema: Schema | undefined;
  readonly readTables: ((signal: AbortSignal) => Promise<DatabaseReading>) | undefined;
  readonly countQueries: CountQueries | undefined;
  /** Absent also where COUNTS is off. */
  readonly aggregator: { lagMs(): number } | undefined;
}

/** All that a service takes from its container. What a factory takes from it is made first, and so ended last. */
export type ServiceCradle = ProcessParts &
  IngestParts &
  BufferParts &
  RpcParts &
  AdminParts &
  DatabaseOfService & { readonly sink: Sink };

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
