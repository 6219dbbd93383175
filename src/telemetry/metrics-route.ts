/** The admin port's `/metrics`. */
import type { Registry, RegistryContentType } from "prom-client";
import type { AdminRoute } from "../server/admin-server.js";

/** The route for what a registry holds. */
export function metricsRoute(
  registry: Pick<Registry<RegistryContentType>, "contentType" | "metrics">,
): AdminRoute {
  return async () => ({ status: 200, contentType: registry.contentType, body: await registry.metrics() });
}
