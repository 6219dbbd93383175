/** Times the timing of calls: the service's own histogram, and prom-client's in its place. */
import type { DescMethodUnary } from "@bufbuild/protobuf";
import { Histogram, Registry } from "prom-client";
import { StatsService } from "../../gen/stats/v1/stats_pb.js";
import type { CallContext, UnaryHandler } from "../../src/rpc/unary-method.js";
import { CallDurations, onCallEnd } from "../../src/telemetry/calls.js";
import { METRICS } from "../../src/telemetry/metric-definitions.js";
import { systemClock } from "../../src/util/clock.js";

const CALLS = 100_000;
const ROUNDS = 50;

const REQUEST = {} as Parameters<UnaryHandler<DescMethodUnary>>[0];
const bare: UnaryHandler<DescMethodUnary> = () => ({});

/** What one call costs more than a bare one, in nanoseconds. */
export function timeObservations(): { readonly name: string; readonly ns: number }[] {
  const { name, help, labels, buckets } = METRICS.rpcDuration;
  const histogram = new Histogram({
    name,
    help,
    labelNames: Object.keys(labels),
    buckets: [...buckets],
    registers: [new Registry()],
  });
  const ours = new CallDurations(METRICS.rpcDuration).interceptor(systemClock);
  const theirs = onCallEnd((method) => {
    const child = histogram.labels(method.name, "ok");
    return (call) => child.observe((systemClock.elapsed() - call.arrivedAt) / 1e3);
  });
  const contenders = {
    bare,
    "ours, without the clock's reading on arrival": ours(bare, StatsService.method.push),
    "prom-client's histogram, labels resolved": theirs(bare, StatsService.method.push),
  };
  const bareNs = timeCalls(contenders.bare);
  return Object.entries(contenders).map(([each, handle]) => ({
    name: each,
    ns: each === "bare" ? bareNs : timeCalls(handle) - bareNs,
  }));
}

function timeCalls(handle: UnaryHandler<DescMethodUnary>): number {
  const call = { arrivedAt: systemClock.elapsed() } as CallContext;
  const rounds = Array.from({ length: ROUNDS }, () => {
    const startedAt = performance.now();
    for (let i = 0; i < CALLS; i++) {
      void handle(REQUEST, call);
    }
    return ((performance.now() - startedAt) / CALLS) * 1e6;
  });
  // What else runs on the machine only ever adds.
  return Math.min(...rounds);
}
