/**
 * What the buffer needs of JetStream: two streams and a consumer. Makes what is missing, and finds in what is there each
 * setting under which events could be lost; it never changes what is there.
 */
import {
  AckPolicy,
  type ConsumerConfig,
  type ConsumerInfo,
  type DeliverPolicy,
  DiscardPolicy,
  JetStreamApiCodes,
  JetStreamApiError,
  type JetStreamManager,
  RetentionPolicy,
  StorageType,
  type StreamConfig,
} from "@nats-io/jetstream";
import { nanos } from "@nats-io/transport-node";
import { batchSubjects } from "./batch-message.js";

/** What is there cannot be used without a person; the message is one line that names the setting and the field. */
export class StreamContractError extends Error {
  override readonly name = "StreamContractError";
  /** As PostgreSQL's schema: nothing but a person can repair it. */
  readonly faultClass = "schema";
}

export interface StreamNames {
  /** Where batches wait: BUFFER_STREAM. */
  readonly batches: string;
  /** Where messages lie that cannot be read. */
  readonly setAside: string;
  readonly setAsideSubject: string;
  /** Where processes tell of themselves. */
  readonly processes: string;
}

export interface StreamWishes {
  /** undefined: the default, 3 in a cluster and 1 on a server of its own. */
  readonly replicas: number | undefined;
  readonly maxBytes: number;
}

/** What the server tells of itself. */
export interface ServerFacts {
  readonly version: string;
  readonly isClustered: boolean;
}

/** Shared by all processes that write: each of them takes from it, and no message goes to two at a time. */
export const CONSUMER = "writers";
/** A message that is neither acknowledged nor said to be in progress for so long goes to another writer. */
export const ACK_WAIT_MS = 10_000;
/** Of all writers together; each holds a few of 1 MB, or a hundred small ones. */
const ACK_PENDING_MAX = 10_000;
const SET_ASIDE_MAX_BYTES = 64 * 2 ** 20;
const CLUSTER_REPLICAS = 3;
/** Deletes the oldest messages of a work queue that is full before this version, whatever `discard` says. */
const BOUNDS_FROM = [2, 10, 5];
/** Below it there are faults by which a cluster has lost acknowledged messages. */
const PRODUCTION_FROM = [2, 12, 0];
const CONSUMER_NOT_FOUND: number = JetStreamApiCodes.ConsumerNotFound;
const STREAM_NOT_FOUND: number = JetStreamApiCodes.StreamNotFound;
const REPLICAS_NOT_SUPPORTED = 10_074;
const NO_SUITABLE_PEERS = 10_005;
const NAME_IN_USE = 10_058;
const STORAGE_EXCEEDED = 10_047;

export function streamNames(stream: string): StreamNames {
  return {
    batches: stream,
    setAside: `${stream}_set_aside`,
    setAsideSubject: `${stream}.set-aside`,
    processes: `${stream}_processes`,
  };
}

/** The number of replicas that a stream is made with, or must have at least. */
export function wantedReplicas({ replicas }: StreamWishes, { isClustered }: ServerFacts): number {
  return replicas ?? (isClustered ? CLUSTER_REPLICAS : 1);
}

/** Whether the server keeps to `max_bytes` by refusing the newest. */
export function boundsWorkQueues(version: string): boolean {
  return isAtLeast(version, BOUNDS_FROM);
}

/** What an operator should know of a server of this version; empty when there is nothing. */
export function versionWarnings(version: string): string[] {
  const warnings: string[] = [];
  if (!boundsWorkQueues(version)) {
    warnings.push(
      `NATS ${version} does not bound a work queue reliably: BUFFER_MAX_BYTES is kept by the publishers, ` +
        "which may exceed it by what they publish within two seconds; 2.10.5 and later keep it themselves",
    );
  }
  if (!isAtLeast(version, PRODUCTION_FROM)) {
    warnings.push(`NATS ${version} is older than 2.12, the oldest version to use in production`);
  }
  return warnings;
}

/** The stream of batches as it is made. Public for tests. */
export function batchStream(names: StreamNames, wishes: StreamWishes, server: ServerFacts) {
  return {
    name: names.batches,
    subjects: [batchSubjects(names.batches)],
    retention: RetentionPolicy.Workqueue,
    discard: DiscardPolicy.New,
    storage: StorageType.File,
    num_replicas: wantedReplicas(wishes, server),
    max_bytes: boundsWorkQueues(server.version) ? wishes.maxBytes : -1,
  };
}

/** The stream of what processes tell of themselves; no event is in it. */
function recordStream({ batches, processes }: StreamNames, replicas: number): StreamWish {
  return {
    name: processes,
    subjects: [`${batches}.process.*`],
    retention: RetentionPolicy.Limits,
    discard: DiscardPolicy.Old,
    storage: StorageType.File,
    num_replicas: replicas,
    max_msgs_per_subject: 1,
  };
}

/** The streams' consumer as it is made. Public for tests. */
export function writersConsumer() {
  return {
    durable_name: CONSUMER,
    ack_policy: AckPolicy.Explicit,
    max_deliver: -1,
    ack_wait: nanos(ACK_WAIT_MS),
    max_ack_pending: ACK_PENDING_MAX,
  };
}

/** Each field of a stream under which batches could be lost, as `field: what it must be`. */
export function streamFaults(config: StreamConfig, names: StreamNames, replicas: number): string[] {
  const subject = batchSubjects(names.batches);
  const rules: [keyof StreamConfig, boolean, string][] = [
    ["retention", config.retention === RetentionPolicy.Workqueue, "must be workqueue"],
    ["discard", config.discard === DiscardPolicy.New, "must be new"],
    ["storage", config.storage === StorageType.File, "must be file"],
    ["num_replicas", config.num_replicas >= replicas, `must be at least ${replicas}, or set BUFFER_REPLICAS`],
    ["max_age", config.max_age === 0, "must be 0"],
    ["max_msgs_per_subject", config.max_msgs_per_subject <= 0, "must be -1"],
    ["no_ack", config.no_ack !== true, "must be false"],
    ["sealed", !config.sealed, "must be false"],
    ["subjects", config.subjects.some((each) => covers(each, subject)), `must contain ${subject}`],
  ];
  return rules.filter(([, isMet]) => !isMet).map(([field, , rule]) => `${field} ${rule}`);
}

/** Each field of a consumer under which batches could be lost or left lying. */
export function consumerFaults(config: ConsumerConfig, names: StreamNames): string[] {
  const deliverAll: DeliverPolicy = "all";
  const filters = [config.filter_subject ?? "", ...(config.filter_subjects ?? [])].filter(Boolean);
  const subject = batchSubjects(names.batches);
  const rules: [keyof ConsumerConfig, boolean, string][] = [
    ["ack_policy", config.ack_policy === AckPolicy.Explicit, "must be explicit"],
    ["max_deliver", (config.max_deliver ?? -1) <= 0, "must be -1"],
    ["deliver_policy", config.deliver_policy === deliverAll, "must be all"],
    ["deliver_subject", !config.deliver_subject, "must be empty: batches are pulled"],
    [
      "filter_subject",
      filters.length === 0 || filters.some((each) => covers(each, subject)),
      "must let all through",
    ],
  ];
  return rules.filter(([, isMet]) => !isMet).map(([field, , rule]) => `${field} ${rule}`);
}

/**
 * Makes the streams and the consumer that are missing, and checks those that are there. Resolves with the bound in bytes
 * that the stream itself has; undefined when it has none.
 *
 * @throws StreamContractError, or the client's error when JetStream gives no answer
 */
export async function keepContract(
  manager: JetStreamManager,
  names: StreamNames,
  wishes: StreamWishes,
  server: ServerFacts,
): Promise<{ readonly maxBytes: number | undefined; readonly made: readonly string[] }> {
  const made: string[] = [];
  const wanted = batchStream(names, wishes, server);
  const { config, isNew } = await findOrMakeStream(manager, wanted);
  refuse(`the stream ${names.batches}`, [
    ...streamFaults(config, names, wanted.num_replicas),
    ...boundFaults(config, server),
  ]);
  const aside = await findOrMakeStream(manager, {
    name: names.setAside,
    subjects: [names.setAsideSubject],
    retention: RetentionPolicy.Limits,
    discard: DiscardPolicy.New,
    storage: StorageType.File,
    num_replicas: wanted.num_replicas,
    max_bytes: SET_ASIDE_MAX_BYTES,
  });
  await findOrMakeStream(manager, recordStream(names, wanted.num_replicas));
  const consumer = await findOrMakeConsumer(manager, names);
  refuse(`the consumer ${CONSUMER} of the stream ${names.batches}`, consumerFaults(consumer.config, names));
  made.push(...(isNew ? [names.batches] : []), ...(aside.isNew ? [names.setAside] : []));
  return { maxBytes: config.max_bytes > 0 ? config.max_bytes : undefined, made };
}

/** On old servers a bound of the stream deletes what it should refuse. */
function boundFaults(config: StreamConfig, { version }: ServerFacts): string[] {
  if (boundsWorkQueues(version)) {
    return [];
  }
  return (["max_bytes", "max_msgs"] as const)
    .filter((field) => config[field] > 0)
    .map((field) => `${field} must be -1 with NATS ${version}, which would delete the oldest`);
}

function refuse(what: string, faults: readonly string[]): void {
  if (faults.length > 0) {
    throw new StreamContractError(
      `BUFFER_STREAM: ${what} could lose events: ${faults.join("; ")}. ` +
        "Change it with the nats command, or name another stream",
    );
  }
}

type StreamWish = Partial<StreamConfig> & Pick<StreamConfig, "name" | "num_replicas">;

async function findOrMakeStream(
  manager: JetStreamManager,
  wanted: StreamWish,
): Promise<{ config: StreamConfig; isNew: boolean }> {
  const find = async () => (await manager.streams.info(wanted.name)).config;
  try {
    return { config: await find(), isNew: false };
  } catch (error) {
    if (apiCode(error) !== STREAM_NOT_FOUND) {
      throw error;
    }
  }
  try {
    return { config: (await manager.streams.add(wanted)).config, isNew: true };
  } catch (error) {
    // Another process has made it since, a little otherwise.
    if (apiCode(error) === NAME_IN_USE) {
      return { config: await find(), isNew: false };
    }
    throw asContractError(error, wanted);
  }
}

async function findOrMakeConsumer(manager: JetStreamManager, names: StreamNames): Promise<ConsumerInfo> {
  try {
    return await manager.consumers.info(names.batches, CONSUMER);
  } catch (error) {
    if (apiCode(error) !== CONSUMER_NOT_FOUND) {
      throw error;
    }
    return manager.consumers.add(names.batches, writersConsumer());
  }
}

function asContractError(error: unknown, { name, num_replicas }: StreamWish): unknown {
  const code = apiCode(error);
  if (code === REPLICAS_NOT_SUPPORTED || code === NO_SUITABLE_PEERS) {
    return new StreamContractError(
      `BUFFER_REPLICAS: the servers cannot keep ${num_replicas} replicas of the stream ${name}`,
      { cause: error },
    );
  }
  if (code === STORAGE_EXCEEDED) {
    return new StreamContractError(
      `BUFFER_MAX_BYTES: the servers have not so much room for the stream ${name}`,
      { cause: error },
    );
  }
  return error;
}

/** JetStream's own code of an error; undefined when it is none of JetStream's. */
export function apiCode(error: unknown): number | undefined {
  return error instanceof JetStreamApiError ? error.code : undefined;
}

/** Whether a subject with wildcards lets all through that `subject` lets through, which ends with `*`. */
function covers(pattern: string, subject: string): boolean {
  const parts = pattern.split(".");
  const wanted = subject.split(".");
  for (const [i, part] of parts.entries()) {
    if (part === ">") {
      return i < wanted.length;
    }
    if (part !== "*" && part !== wanted[i]) {
      return false;
    }
  }
  return parts.length === wanted.length;
}

/** Of versions such as 2.10.5 or 2.12.0-preview.1. */
function isAtLeast(version: string, floor: readonly number[]): boolean {
  const parts = version.split(/[.-]/).map(Number);
  for (const [i, wanted] of floor.entries()) {
    const part = parts[i] ?? 0;
    if (part !== wanted) {
      return part > wanted;
    }
  }
  return true;
}
