/** The admin port's `/metrics`. */
import type { Registry } from "prom-client";
import type { AdminAnswer, AdminRoute } from "../server/admin-server.js";

/** The route for the metrics of this process. */
export function metricsRoute(registry: Registry): AdminRoute {
  return async () => metricsAnswer(registry.contentType, await registry.metrics());
}

/** The answer to a scrape. */
export function metricsAnswer(contentType: string, body: string): AdminAnswer {
  return { status: 200, contentType, body };
}
