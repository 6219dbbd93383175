/** Puts the parts together for what a process is: it names them, makes none before somebody needs it, and starts nothing. */
import { type AwilixContainer, asValue } from "awilix";
import type { Logger } from "pino";
import type { Config } from "../config.js";
import { emptyContainer } from "./lifecycle.js";
import { type AdminParts, adminParts } from "./parts/admin.js";
import { bufferParts } from "./parts/buffer.js";
import { type DatabaseParts, databaseParts } from "./parts/database.js";
import { ingestParts } from "./parts/ingest.js";
import { type ProcessParts, processParts } from "./parts/process.js";
import { rpcParts } from "./parts/rpc.js";
import { storageParts } from "./parts/storage.js";
import type { ServiceCradle } from "./service-cradle.js";

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
    ...bufferParts(),
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
