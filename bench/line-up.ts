/** Who is measured, under which load, and what the figures of the service must reach. */
import type { FigureDefinition } from "./support/figures.js";
import { LOADS } from "./support/load.js";
import {
  batchRows,
  contender,
  type Measurement,
  psqlRows,
  pushCalls,
  service,
} from "./support/measurement.js";
import { queuedEventBytes } from "./support/memory.js";
import { CALL_EVENTS } from "./support/push-batch-load.js";

const BATCH_CALLS = Number(process.env.BENCH_CALLS ?? 100);
/** A rate, in calls a second, at which the service and the generator have time to spare on two cores. */
const STEADY_PACE = 10_000;
const RAM_EVENTS = Number(process.env.BENCH_RAM_EVENTS ?? 1_000_000);

const JSON_HTTP1 = LOADS["connect-json"];
const PROTO_H2 = LOADS["connect-proto"];
const GRPC = LOADS.grpc;

/** In the order in which they are measured: those that are compared are close to each other. */
const lineUp = {
  bareHttp: pushCalls({
    name: "bare node:http",
    start: contender("bare-http"),
    load: JSON_HTTP1,
    books: "none",
  }),
  json: pushCalls({ name: "Push, Connect JSON, HTTP/1.1", start: service, load: JSON_HTTP1, books: "rows" }),
  jsonStock: pushCalls({
    name: "stock connect-node, JSON, HTTP/1.1",
    start: contender("stock-connect"),
    load: JSON_HTTP1,
    books: "none",
  }),
  jsonInsert: pushCalls({
    name: "one INSERT per request, JSON, HTTP/1.1",
    start: contender("insert-per-request"),
    load: JSON_HTTP1,
    books: "rows",
  }),
  bareHttp2: pushCalls({
    name: "bare node:http2",
    start: contender("bare-http2"),
    load: PROTO_H2,
    books: "none",
  }),
  proto: pushCalls({ name: "Push, Connect proto, h2", start: service, load: PROTO_H2, books: "rows" }),
  protoStock: pushCalls({
    name: "stock connect-node, proto, h2",
    start: contender("stock-connect", { HTTP: "2" }),
    load: PROTO_H2,
    books: "none",
  }),
  grpcJs: pushCalls({ name: "@grpc/grpc-js, gRPC", start: contender("grpc-js"), load: GRPC, books: "none" }),
  grpc: pushCalls({ name: "Push, gRPC", start: service, load: GRPC, books: "rows" }),
  grpcStock: pushCalls({
    name: "stock connect-node, gRPC",
    start: contender("stock-connect", { HTTP: "2" }),
    load: GRPC,
    books: "none",
  }),
  queued: pushCalls({
    name: "Push, gRPC, 1,000 in flight",
    start: service,
    load: LOADS["grpc-1000"],
    books: "rows",
  }),
  durable: pushCalls({
    name: "Push, gRPC, 1,000 in flight, DURABLE",
    start: service,
    load: LOADS["grpc-1000-durable"],
    books: "rows",
  }),
  steady: pushCalls({
    name: `Push, proto, h2, at ${STEADY_PACE} a second`,
    start: service,
    load: PROTO_H2,
    pace: STEADY_PACE,
    books: "rows",
  }),
  steadyNullSink: pushCalls({
    name: "the same, no PostgreSQL",
    start: contender("null-sink"),
    load: PROTO_H2,
    pace: STEADY_PACE,
    books: "accepted",
  }),
  batch: batchRows("PushBatch", BATCH_CALLS),
  psql: psqlRows("psql \\copy", BATCH_CALLS * CALL_EVENTS),
  memory: queuedEventBytes("memory per queued event", RAM_EVENTS),
} satisfies Record<string, Measurement>;

/** All that is measured. */
export const MEASUREMENTS: readonly Measurement[] = Object.values(lineUp);

/** All that the service is judged by. */
export const FIGURES: readonly FigureDefinition[] = [
  {
    title: "Push, Connect JSON, HTTP/1.1 ÷ bare node:http",
    of: lineUp.json,
    over: lineUp.bareHttp,
    bound: 0.75,
    aim: 0.9,
  },
  {
    title: "Push, Connect proto, h2 ÷ bare node:http2",
    of: lineUp.proto,
    over: lineUp.bareHttp2,
    bound: 0.75,
    aim: 0.9,
  },
  { title: "Push, gRPC ÷ @grpc/grpc-js", of: lineUp.grpc, over: lineUp.grpcJs, bound: 1.3, aim: 1.8 },
  {
    title: "Push, Connect JSON ÷ stock connect-node",
    of: lineUp.json,
    over: lineUp.jsonStock,
    bound: 4.5,
    aim: 6,
  },
  { title: "Push ÷ one INSERT per request", of: lineUp.json, over: lineUp.jsonInsert, bound: 7, aim: 10 },
  {
    title: "DURABLE ÷ QUEUED, gRPC, 1,000 in flight",
    of: lineUp.durable,
    over: lineUp.queued,
    bound: 0.7,
    aim: 0.9,
  },
  { title: "PushBatch ÷ psql \\copy, rows", of: lineUp.batch, over: lineUp.psql, bound: 0.5, aim: 0.9 },
  {
    title: "p99 of Push, with flushes ÷ without",
    of: lineUp.steady,
    over: lineUp.steadyNullSink,
    by: "p99Ms",
    bound: 2,
    aim: 1.2,
    lessIsBetter: true,
  },
  { title: "memory per queued event, bytes", of: lineUp.memory, bound: 160, aim: 110, lessIsBetter: true },
];
