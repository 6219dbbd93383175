import type { ConsumerConfig, StreamConfig } from "@nats-io/jetstream";
import {
  batchStream,
  consumerFaults,
  streamFaults,
  streamNames,
  versionWarnings,
  wantedReplicas,
  writersConsumer,
} from "../../../../src/buffer/jetstream/stream-contract.js";

const NAMES = streamNames("stats");
const ALONE = { version: "2.12.4", isClustered: false };
const CLUSTER = { version: "2.12.4", isClustered: true };
const WISHES = { replicas: undefined, maxBytes: 2 ** 30 };

/** As a server tells of a stream that was made as we make it. */
function streamConfig(fields: Partial<StreamConfig> = {}): StreamConfig {
  const config: Partial<StreamConfig> = {
    ...batchStream(NAMES, WISHES, CLUSTER),
    max_age: 0,
    max_msgs: -1,
    max_msgs_per_subject: -1,
    sealed: false,
    ...fields,
  };
  return config as StreamConfig;
}

/** As a server tells of a consumer that was made as we make it. */
function consumerConfig(fields: Partial<ConsumerConfig> = {}): ConsumerConfig {
  return { ...writersConsumer(), deliver_policy: "all", ...fields } as ConsumerConfig;
}

test("a stream and a consumer as they are made keep the contract", () => {
  expect(streamFaults(streamConfig(), NAMES, 3)).toEqual([]);
  expect(consumerFaults(consumerConfig(), NAMES)).toEqual([]);
});

test.each<[keyof StreamConfig, Partial<StreamConfig>]>([
  ["retention", { retention: "limits" }],
  ["retention", { retention: "interest" }],
  ["discard", { discard: "old" }],
  ["storage", { storage: "memory" }],
  ["num_replicas", { num_replicas: 1 }],
  ["max_age", { max_age: 1 }],
  ["max_msgs_per_subject", { max_msgs_per_subject: 10 }],
  ["no_ack", { no_ack: true }],
  ["sealed", { sealed: true }],
  ["subjects", { subjects: ["stats.other.*"] }],
])("a stream that could lose events is told by its field: %s", (field, fields) => {
  expect(streamFaults(streamConfig(fields), NAMES, 3)).toEqual([
    expect.stringMatching(new RegExp(`^${field} `)),
  ]);
});

test.each<[keyof ConsumerConfig, Partial<ConsumerConfig>]>([
  ["ack_policy", { ack_policy: "none" }],
  ["max_deliver", { max_deliver: 3 }],
  ["deliver_policy", { deliver_policy: "new" }],
  ["deliver_subject", { deliver_subject: "somewhere" }],
  ["filter_subject", { filter_subject: "stats.batch.1" }],
])("a consumer that could lose events is told by its field: %s", (field, fields) => {
  expect(consumerFaults(consumerConfig(fields), NAMES)).toEqual([
    expect.stringMatching(new RegExp(`^${field} `)),
  ]);
});

test("wildcards of an operator's stream may be wider than ours", () => {
  expect(streamFaults(streamConfig({ subjects: ["stats.>"] }), NAMES, 3)).toEqual([]);
  expect(streamFaults(streamConfig({ subjects: ["other", "*.batch.*"] }), NAMES, 3)).toEqual([]);
});

test("a cluster keeps three replicas, a single server one, unless told otherwise", () => {
  expect(wantedReplicas(WISHES, CLUSTER)).toBe(3);
  expect(wantedReplicas(WISHES, ALONE)).toBe(1);
  expect(wantedReplicas({ ...WISHES, replicas: 2 }, CLUSTER)).toBe(2);
});

test.each([
  ["2.9.10", 2],
  ["2.10.4", 2],
  ["2.10.5", 1],
  ["2.11.9", 1],
  ["2.12.0", 0],
  ["2.12.0-preview.1", 0],
  ["3.0.0", 0],
])("NATS %s is warned of %i times", (version, warnings) => {
  expect(versionWarnings(version)).toHaveLength(warnings);
});

test("a server that would delete the oldest is given no bound", () => {
  expect(batchStream(NAMES, WISHES, { ...ALONE, version: "2.9.10" }).max_bytes).toBe(-1);
  expect(batchStream(NAMES, WISHES, ALONE).max_bytes).toBe(2 ** 30);
});
