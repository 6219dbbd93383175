/** Puts the parts together for what a process is: it names them, makes none before somebody needs it, and starts nothing. */
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
