/**
 * Puts the parts together for what a process is. It names them, makes none before somebody needs it, starts nothing, and
 * ends what was made in the one order that loses nothing.
 */
import { type AwilixContainer, asValue, createContainer, InjectionMode } from "awilix";
import type { Logger } from "pino";
import type { Config } from "../config.js";
import { type AdminParts, adminParts } from "./parts/admin.js";
import { type DatabaseParts, databaseParts } from "./parts/database.js";
import { type IngestParts, ingestParts } from "./parts/ingest.js";
import { type BackgroundJob, isJob } from "./parts/part.js";
import { type ProcessParts, processParts } from "./parts/process.js";
import { type RpcParts, rpcParts } from "./parts/rpc.js";
import { type StorageParts, storageParts } from "./parts/storage.js";

/** All that a service's container can give. What a factory takes from it is made first, and so ended last. */
export type ServiceCradle = ProcessParts & IngestParts & StorageParts & DatabaseParts & RpcParts & AdminParts;

/** What the primary of several workers has: the workers are whole services. */
export type PrimaryCradle = ProcessParts & DatabaseParts & AdminParts;

/** The container of a service; one of several has no admin port, which is its primary's. */
export function createServiceContainer(
  config: Config,
  logger: Logger,
  { isWorker = false }: { readonly isWorker?: boolean } = {},
): AwilixContainer<ServiceCradle> {
  return emptyContainer<ServiceCradle>().register({
    ...processParts(config, logger),
    ...ingestParts(),
    ...storageParts(),
    ...databaseParts(),
    ...rpcParts(config),
    ...adminParts(),
    ...(isWorker && { adminServer: asValue(undefined) }),
  });
}

/** The container of a primary. It migrates; the partitions are made by each worker, when it starts. */
export function createPrimaryContainer(config: Config, logger: Logger): AwilixContainer<PrimaryCradle> {
  return emptyContainer<PrimaryCradle>().register({
    ...processParts(config, logger),
    ...databaseParts(),
    ...adminParts(),
    makePartitions: asValue(() => Promise.resolve()),
  });
}

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

function emptyContainer<Cradle extends object>(): AwilixContainer<Cradle> {
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
