/**
 * What the processes that share a buffer tell of themselves, so that somebody can add up their books: each answers a
 * request, and leaves a record of how it last was, in case it does not answer any more.
 *
 * Requests go to `<stream>.ask`; records are the last messages of the subjects `<stream>.process.<id>` of a stream of their
 * own. A record says whether its process ended in order: one that did not and does not answer was killed, or is cut off.
 */
import { JetStreamApiCodes, type JetStreamManager, jetstream, jetstreamManager } from "@nats-io/jetstream";
import type { NatsConnection } from "@nats-io/transport-node";
import type { Logger } from "pino";
import { z } from "zod";
import type { Clock } from "../../util/clock.js";
import { messageOf } from "../../util/error-message.js";
import { PeriodicJob } from "../../util/periodic-job.js";
import { rowsBySubject } from "./batch-message.js";
import { ANSWER_TIMEOUT_MS } from "./jetstream-link.js";
import { apiCode, streamNames } from "./stream-contract.js";

const processRecord = z.object({
  /** Of one run of one process. */
  id: z.string(),
  role: z.string(),
  host: z.string(),
  pid: z.number(),
  version: z.string(),
  /** ISO 8601. */
  toldAt: z.string(),
  /** It ended in order, and these are its last books. */
  hasStopped: z.boolean(),
  /** Its books, in events. */
  events: z.record(z.string(), z.number()),
  /** Events in its memory. */
  queued: z.number(),
});

/** How a process is, or last was. */
export type ProcessRecord = z.infer<typeof processRecord>;

/** All who share a buffer, and what is in it. */
export interface ClusterReading {
  /** These have answered. */
  readonly answering: readonly ProcessRecord[];
  /** These ended in order. */
  readonly stopped: readonly ProcessRecord[];
  /** These did neither: how they last were is all that is known. */
  readonly unknown: readonly ProcessRecord[];
  readonly stream: {
    readonly messages: number;
    readonly rows: number;
    readonly bytes: number;
    readonly setAsideMessages: number;
  };
}

export interface ProcessRecordsDeps {
  readonly stream: string;
  readonly connection: () => NatsConnection | undefined;
  readonly read: () => Omit<ProcessRecord, "toldAt" | "hasStopped">;
  readonly clock: Clock;
  readonly logger: Logger;
}

const RECORD_EVERY_MS = 10_000;
const FIRST_RECORD_MS = 500;
/** How long processes have to answer; they do so in milliseconds. */
const GATHER_MS = 2_000;

/** Answers requests and keeps a record, from start() to close(), which leaves the last one. */
export class ProcessRecords {
  readonly #deps: ProcessRecordsDeps;
  readonly #job: PeriodicJob;
  #answersOn: NatsConnection | undefined;
  #closing: Promise<void> | undefined;

  constructor(deps: ProcessRecordsDeps) {
    this.#deps = deps;
    const { clock, logger } = deps;
    this.#job = new PeriodicJob({
      clock,
      firstMs: FIRST_RECORD_MS,
      retryMs: RECORD_EVERY_MS,
      pass: async () => {
        await this.#leave(false);
        return RECORD_EVERY_MS;
      },
      onFailure: (error) =>
        logger.debug({ reason: messageOf(error) }, "buffer: the record of this process was not left"),
    });
  }

  start(): void {
    this.resume();
    this.#job.start();
  }

  /** There is a connection: answers on it. */
  resume(): void {
    const connection = this.#deps.connection();
    if (connection === undefined || connection === this.#answersOn) {
      return;
    }
    this.#answersOn = connection;
    connection.subscribe(`${this.#deps.stream}.ask`, {
      callback: (error, request) => {
        if (error === null) {
          request.respond(JSON.stringify(this.#record(false)));
        }
      },
    });
  }

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    await this.#job.close();
    await this.#leave(true).catch((error: unknown) => {
      this.#deps.logger.warn(
        { reason: messageOf(error) },
        "buffer: others will not know that this process stopped",
      );
    });
  }

  #record(hasStopped: boolean): ProcessRecord {
    const { read, clock } = this.#deps;
    return { ...read(), toldAt: new Date(clock.now()).toISOString(), hasStopped };
  }

  async #leave(hasStopped: boolean): Promise<void> {
    const connection = this.#deps.connection();
    if (connection === undefined) {
      throw new Error("NATS is not connected");
    }
    const record = this.#record(hasStopped);
    await jetstream(connection, { timeout: ANSWER_TIMEOUT_MS }).publish(
      `${this.#deps.stream}.process.${record.id}`,
      JSON.stringify(record),
      { timeout: hasStopped ? 1_000 : ANSWER_TIMEOUT_MS },
    );
  }
}

/**
 * Asks all processes that share a buffer, and reads what those who do not answer have left.
 *
 * @throws the client's error when NATS does not answer, or has no such streams
 */
export async function readCluster(connection: NatsConnection, stream: string): Promise<ClusterReading> {
  const manager = await jetstreamManager(connection, { timeout: ANSWER_TIMEOUT_MS, checkAPI: false });
  const answering = await gather(connection, stream);
  const ids = new Set(answering.map(({ id }) => id));
  const left = (await readRecords(manager, stream)).filter(({ id }) => !ids.has(id));
  const names = streamNames(stream);
  const { state } = await manager.streams.info(names.batches, { subjects_filter: ">" });
  const setAside = await manager.streams.info(names.setAside);
  return {
    answering,
    stopped: left.filter(({ hasStopped }) => hasStopped),
    unknown: left.filter(({ hasStopped }) => !hasStopped),
    stream: {
      messages: state.messages,
      rows: rowsBySubject(state.subjects ?? {}),
      bytes: state.bytes,
      setAsideMessages: setAside.state.messages,
    },
  };
}

async function gather(connection: NatsConnection, stream: string): Promise<ProcessRecord[]> {
  const records: ProcessRecord[] = [];
  try {
    for await (const { data } of await connection.requestMany(`${stream}.ask`, "", {
      strategy: "stall",
      maxWait: GATHER_MS,
      stall: GATHER_MS / 2,
    })) {
      const { data: record } = processRecord.safeParse(JSON.parse(Buffer.from(data).toString()));
      if (record !== undefined) {
        records.push(record);
      }
    }
  } catch (error) {
    // Nobody is there to ask.
    if ((error as { name?: unknown }).name !== "NoRespondersError" && !isNoResponders(error)) {
      throw error;
    }
  }
  return records;
}

function isNoResponders(error: unknown): boolean {
  return (error as { isNoResponders?: () => boolean }).isNoResponders?.() === true;
}

async function readRecords(manager: JetStreamManager, stream: string): Promise<ProcessRecord[]> {
  const { processes } = streamNames(stream);
  try {
    const { state } = await manager.streams.info(processes, { subjects_filter: ">" });
    const messages = await Promise.all(
      Object.keys(state.subjects ?? {}).map((last_by_subj) =>
        manager.streams.getMessage(processes, { last_by_subj }),
      ),
    );
    return messages
      .filter((message) => message !== null)
      .map((message) => processRecord.safeParse(message.json()).data)
      .filter((record) => record !== undefined);
  } catch (error) {
    if (apiCode(error) === (JetStreamApiCodes.StreamNotFound as number)) {
      return [];
    }
    throw error;
  }
}
