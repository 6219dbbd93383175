/** The public face of the client, `@stats-service/client`: for Node and browsers. */
// What `onError` and a call that fails tell.
export { Code, ConnectError } from "@connectrpc/connect";
export { Dimension, Granularity } from "../../gen/stats/v1/counts_pb.js";
export { AckMode } from "../../gen/stats/v1/stats_pb.js";
export type { BatchPusher } from "./batch-sender.js";
export {
  BufferingClient,
  type BufferingCounters,
  type BufferingDeps,
  UndeliveredError,
} from "./buffering-client.js";
export type { CallOptions } from "./call-fetch.js";
export { createBufferingClient } from "./create-buffering-client.js";
export type { FieldViolation, StatsEvent } from "./event.js";
export {
  BATCH_MAX_BYTES,
  type BufferingOptions,
  type Failure,
  type Rejection,
  type WaitOptions,
} from "./options.js";
export {
  type CountsClient,
  createCountsClient,
  createStatsClient,
  type StatsClient,
  type StatsClientOptions,
} from "./stats-client.js";
