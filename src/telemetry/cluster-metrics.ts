/**
 * The metrics of several worker processes as one: the primary asks its workers by prom-client's messages, which neither
 * side needs to know; it measures nothing itself.
 */
import { AggregatorRegistry, type PrometheusContentType, type Registry } from "prom-client";
import type { AdminRoute } from "../server/admin-server.js";
import { metricsAnswer } from "./metrics-route.js";

/** In a worker: answers the primary with what is in `registry`. Once a process. */
export function shareWithPrimary(registry: Registry): void {
  AggregatorRegistry.setRegistries(registry);
  // Its making is what starts to listen to the primary.
  new AggregatorRegistry<PrometheusContentType>();
}

/** In the primary: the route `/metrics`, for all workers together. Once a process. */
export function clusterMetricsRoute(): AdminRoute {
  const workers = new AggregatorRegistry<PrometheusContentType>();
  return async () => metricsAnswer(workers.contentType, await workers.clusterMetrics());
}
