/** Two worker processes with three malformed requests each; their primary prints the answer of its `/metrics`. */
import cluster from "node:cluster";
import { once } from "node:events";
import { systemClock } from "../../dist/src/clock.js";
import { clusterMetricsRoute, shareWithPrimary } from "../../dist/src/telemetry/cluster-metrics.js";
import { Metrics } from "../../dist/src/telemetry/metrics.js";

if (cluster.isPrimary) {
  const workers = [cluster.fork(), cluster.fork()];
  await Promise.all(workers.map((worker) => once(worker, "message")));
  const { status, contentType, body } = await clusterMetricsRoute()();
  process.stdout.write(`# ${status} ${contentType}\n${body}`);
  for (const worker of workers) {
    worker.disconnect();
  }
} else {
  const metrics = new Metrics({ clock: systemClock });
  for (let i = 0; i < 3; i++) {
    metrics.countUnhandled("malformed");
  }
  shareWithPrimary(metrics.registry);
  process.send?.("ready");
}
