/** Puts the parts together for an edge. Apart from container.ts, so that an edge loads nothing of PostgreSQL's. */
import type { AwilixContainer } from "awilix";
import type { Logger } from "pino";
import type { Config } from "../config.js";
import { emptyContainer } from "./lifecycle.js";
import { adminParts } from "./parts/admin.js";
import { bufferParts } from "./parts/buffer.js";
import { edgeParts } from "./parts/edge.js";
import { ingestParts } from "./parts/ingest.js";
import { processParts } from "./parts/process.js";
import { rpcParts } from "./parts/rpc.js";
import type { ServiceCradle } from "./service-cradle.js";

export function createEdgeContainer(config: Config, logger: Logger): AwilixContainer<ServiceCradle> {
  return emptyContainer<ServiceCradle>().register({
    ...processParts(config, logger),
    ...ingestParts(),
    ...bufferParts(),
    ...edgeParts(),
    ...rpcParts(config),
    ...adminParts(),
  });
}
