/** The admin port's `/metrics`, of one process or of several workers as one, of which no counter ever falls. */
import {
  AggregatorRegistry,
  Gauge,
  type MetricObjectWithValues,
  type MetricValue,
  type Registry,
  type RegistryContentType,
} from "prom-client";
import type { AdminRoute } from "../server/admin-server.js";
import type { Probe } from "../server/health.js";
import { METRICS } from "./metric-definitions.js";

/** The route for what a registry holds. */
export function metricsRoute(
  registry: Pick<Registry<RegistryContentType>, "contentType" | "metrics">,
): AdminRoute {
  return async () => ({ status: 200, contentType: registry.contentType, body: await registry.metrics() });
}

/** All metrics of one process, as prom-client hands them out. */
export type MetricsReading = readonly MetricObjectWithValues<MetricValue<string>>[];

/**
 * What one worker has told, in all of its processes. One that is silent stands as it last was; of one that has ended the
 * counts stay. For Prometheus takes a sum that falls for that of a service which began again from 0, and all that is
 * left of it for new.
 */
export class WorkerMetrics {
  #ended: MetricsReading = [];
  #latest: MetricsReading = [];

  /** The process that is there has told. */
  heard(reading: MetricsReading): void {
    this.#latest = reading;
  }

  /** It has ended, and the next one counts from 0. */
  processEnded(): void {
    const counts = this.#latest.filter(({ type }) => ["counter", "histogram"].includes(String(type)));
    const sums: object[] = AggregatorRegistry.aggregate([this.#ended, counts]).getMetricsAsArray();
    // Those that prom-client has added up carry their values, which its types do not say.
    this.#ended = sums as MetricObjectWithValues<MetricValue<string>>[];
    this.#latest = [];
  }

  /** To be added up. */
  read(): readonly MetricsReading[] {
    return [this.#ended, this.#latest];
  }
}

/** What the primary's route `/metrics` is made of. */
export interface ClusterMetricsSources {
  /** Of all workers. Never rejects. */
  readonly readWorkers: () => Promise<readonly MetricsReading[]>;
  /** What `/readyz` says. */
  readonly readiness: () => Probe;
}

/** The route `/metrics` for all workers together. */
export function clusterMetricsRoute({ readWorkers, readiness }: ClusterMetricsSources): AdminRoute {
  return async () => {
    const registry = AggregatorRegistry.aggregate([...(await readWorkers())]);
    const { name, help } = METRICS.ready;
    new Gauge({ name, help, registers: [registry] }).set(readiness().ok ? 1 : 0);
    return metricsRoute(registry)();
  };
}
