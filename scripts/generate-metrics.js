/** Writes docs/metrics.md from src/telemetry/metric-definitions.ts, by way of the built code. */
import { writeFile } from "node:fs/promises";
import { METRICS } from "../dist/src/telemetry/metric-definitions.js";

const DOCUMENT = new URL("../docs/metrics.md", import.meta.url);

const HEAD = `# Metrics

Written by \`npm run generate\` from [metric-definitions.ts](../src/telemetry/metric-definitions.ts).

The admin port serves them at \`/metrics\`, in Prometheus' text format; \`METRICS=off\` turns them off. Beside those of the
table there are the usual ones of the process and of Node, \`process_…\` and \`nodejs_…\`, of which
\`nodejs_eventloop_lag_p99_seconds\` is the event-loop lag. What to watch, and what to do then:
[operations.md](operations.md#alerts).

At each scrape, during load and outages too, unless a worker process has died,

    stats_events_accepted_total + stats_events_recovered_total
      = stats_events_inserted_total + stats_events_duplicate_total + sum(stats_events_dead_total)
        + stats_events_set_aside_total + stats_events_forwarded_total
        + stats_buffer_rows{kind="spool"} + stats_queue_rows

and \`stats_queue_rows\` includes what is in flight.

Calls are timed from the moment that their header has come until their answer is ready, so the time in which a client sends
the body counts, and that in which it reads the answer does not. One that waits for durability is timed until it is
answered.

With several worker processes, \`/metrics\` shows them together; the last column says how their values become one. A worker
that does not answer stands as it last did. When one dies its counts stay, as of the last scrape, so counters never fall;
but from then on the sum above is out by the events that it held: those that were in its memory alone are lost, and those in
its spool come in a second time, as recovered.
`;

const rows = Object.values(METRICS).map(({ name, type, help, labels = {}, aggregator }) => {
  const meanings = Object.entries(labels).map(([label, meaning]) => `\`${label}\`: ${meaning}`);
  const ofWorkers = aggregator === "omit" ? "the primary's" : aggregator;
  return `| \`${name}\` | ${type} | ${help} | ${meanings.join("<br>")} | ${ofWorkers} |`;
});
const table = ["| name | type | | labels | workers |", "|---|---|---|---|---|", ...rows].join("\n");
await writeFile(DOCUMENT, `${HEAD}\n${table}\n`);
