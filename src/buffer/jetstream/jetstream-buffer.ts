/**
 * The buffer that several machines share: batches are messages of a JetStream work queue, stored when a quorum of its
 * servers has them, and taken by any process that writes to PostgreSQL.
 */
import { headers, type MsgHdrs, type NatsConnection } from "@nats-io/transport-node";
import type { Logger } from "pino";
import type { EncodedBatch } from "../../event/tuple-codec.js";
import type { Clock } from "../../util/clock.js";
import { messageOf } from "../../util/error-message.js";
import { BatchFileError } from "../batch-file.js";
import { type BatchBuffer, BufferFullError, type BufferRecovery } from "../buffer.js";
import { type BatchMessage, batchSubject, ROWS_HEADER, rowsBySubject, toMessages } from "./batch-message.js";
import { type DeliveredBatch, Deliveries } from "./deliveries.js";
import { ANSWER_TIMEOUT_MS, JetStreamLink, type JetStreamSession, mayBeGone } from "./jetstream-link.js";
import type { NatsServers } from "./nats-url.js";
import { apiCode, type StreamNames, streamNames } from "./stream-contract.js";

export interface JetStreamBufferDeps {
  readonly servers: NatsServers;
  readonly credentialsFile: string | undefined;
  /** BUFFER_STREAM. */
  readonly stream: string;
  /** undefined: as many as the cluster has servers, 3 at most. */
  readonly replicas: number | undefined;
  readonly maxBytes: number;
  /** What the servers' monitoring calls this process. */
  readonly clientName: string;
  readonly clock: Clock;
  readonly random: () => number;
  readonly logger: Logger;
}

/** What the stream itself says of how full it is. */
export interface StreamNumbers {
  readonly messages: number;
  readonly rows: number;
  readonly bytes: number;
  readonly setAsideMessages: number;
}

/** NATS is out of reach, or its streams are not as they must be; nothing was published. */
export class BufferUnavailableError extends Error {
  override readonly name = "BufferUnavailableError";
}

/** The stream, the account or the servers have no more room. */
const FULL_CODES = new Set<number | undefined>([10_077, 10_002, 10_023, 10_047]);
/** Asks for the number of messages per subject, too: some kilobytes while the stream is long. */
const ALL_SUBJECTS = { subjects_filter: ">" };
const LOOKS_PER_COUNT = 5;
const REASON_HEADER = "Stats-Reason";
const SUBJECT_HEADER = "Stats-Subject";
/** What a message takes of the stream besides its payload: subject, headers, the store's own record. */
const MESSAGE_OVERHEAD_BYTES = 128;

/** `new` → `open` by open(); → `closed`, for good, by close(). */
export class JetStreamBuffer implements BatchBuffer<DeliveredBatch> {
  readonly kind = "jetstream";
  readonly #logger: Logger;
  readonly #names: StreamNames;
  readonly #maxBytes: number;
  readonly #link: JetStreamLink;
  readonly #deliveries: Deliveries;
  /** As the stream last told. */
  #toldBytes = 0;
  #setAsideMessages = 0;
  #messages = 0;
  #rows = 0;
  #looks = 0;
  /** Published by us in all, and what of it was before the stream last told. */
  #publishedBytes = 0;
  #toldPublishedBytes = 0;
  #isWritable = true;
  #onWritable: (() => void) | undefined;

  constructor(deps: JetStreamBufferDeps) {
    this.#logger = deps.logger;
    this.#maxBytes = deps.maxBytes;
    this.#names = streamNames(deps.stream);
    this.#link = new JetStreamLink({
      ...deps,
      names: this.#names,
      wishes: deps,
      look: (session) => this.#look(session),
    });
    this.#link.onSession(() => {
      this.#isWritable = true;
      this.#deliveries.resume();
      this.#onWritable?.();
    });
    this.#deliveries = new Deliveries({ ...deps, session: () => this.#link.session });
  }

  /** Of the whole stream, as of two seconds ago at most, and what this process has published since. */
  get bytes(): number {
    return this.#toldBytes + this.#publishedBytes - this.#toldPublishedBytes;
  }

  /** Of the whole stream, as of ten seconds ago at most. */
  get rows(): number {
    return this.#rows;
  }

  /** BUFFER_MAX_BYTES, or the stream's own bound when that is lower. */
  get maxBytes(): number {
    return Math.min(this.#maxBytes, this.#link.session?.streamMaxBytes ?? Number.POSITIVE_INFINITY);
  }

  get freeBytes(): number {
    return Math.max(0, this.maxBytes - this.bytes - MESSAGE_OVERHEAD_BYTES);
  }

  /** Messages in the stream, as of two seconds ago at most. */
  get batches(): number {
    return this.#messages;
  }

  /** Messages that were set aside and wait for a person, by whichever process. */
  get setAsideBatches(): number {
    return this.#setAsideMessages;
  }

  get isWritable(): boolean {
    return this.#isWritable && this.#link.session !== undefined;
  }

  /** Why nothing can be stored or taken now, if that is not a matter of room. */
  get fault(): unknown {
    return this.#link.fault;
  }

  /** For what processes say to each other; undefined while there is none. */
  get connection(): NatsConnection | undefined {
    return this.#link.session?.connection;
  }

  /** What is in the stream was never this process's: nothing is recovered. */
  async open(): Promise<BufferRecovery> {
    await this.#link.open();
    return { rows: 0, setAsideRows: 0 };
  }

  async close(): Promise<void> {
    this.#deliveries.close();
    await this.#link.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  /** Calls `listener` when batches can be stored that could not be a moment ago. */
  onWritable(listener: () => void): void {
    this.#onWritable = listener;
  }

  /**
   * Resolves when a quorum of the stream's servers has the batch. A batch that is larger than a message may be goes as
   * several; when one of them fails, all are in doubt.
   *
   * @throws BufferFullError, BufferUnavailableError, or the client's error when it is not known whether it is stored
   */
  async store(batch: EncodedBatch): Promise<void> {
    const session = this.#session();
    if (batch.bytes > this.freeBytes) {
      throw new BufferFullError(
        `the buffer is full: ${batch.bytes} bytes are needed, ${this.freeBytes} are left of BUFFER_MAX_BYTES`,
      );
    }
    try {
      const messages = toMessages(batch, session.maxPayloadBytes);
      await Promise.all(messages.map((message) => this.#publish(session, message)));
      this.#isWritable = true;
    } catch (error) {
      this.#isWritable = false;
      if (FULL_CODES.has(apiCode(error))) {
        throw new BufferFullError(`the buffer is full: ${messageOf(error)}`, { cause: error });
      }
      if (mayBeGone(error)) {
        this.#link.doubt();
      }
      throw error;
    }
  }

  oldest(): DeliveredBatch | undefined {
    return this.#deliveries.oldest();
  }

  /** What was delivered is in memory. What cannot be read goes into the stream for that, and resolves with undefined. */
  async read(batch: DeliveredBatch): Promise<EncodedBatch | undefined> {
    const contents: EncodedBatch[] = [];
    for (const { content } of batch.parts) {
      if (content instanceof BatchFileError) {
        await this.#setAside(batch, content);
        return undefined;
      }
      contents.push(content);
    }
    const bytes = contents.reduce((sum, content) => sum + content.bytes, 0);
    return { rows: batch.rows, bytes, chunks: contents.flatMap(({ chunks }) => chunks) };
  }

  async remove(batch: DeliveredBatch): Promise<void> {
    this.#deliveries.acknowledge(batch);
  }

  pause(): void {
    this.#deliveries.giveBack();
  }

  onAvailable(listener: (() => void) | undefined): void {
    this.#deliveries.onAvailable(listener);
  }

  /**
   * The stream's numbers at this moment, its rows told by the messages' subjects.
   *
   * @throws BufferUnavailableError, or the client's error
   */
  async readNumbers(): Promise<StreamNumbers> {
    const { manager } = this.#session();
    const { state } = await manager.streams.info(this.#names.batches, ALL_SUBJECTS);
    const setAside = await manager.streams.info(this.#names.setAside);
    return {
      messages: state.messages,
      rows: rowsBySubject(state.subjects ?? {}),
      bytes: state.bytes,
      setAsideMessages: setAside.state.messages,
    };
  }

  #session(): JetStreamSession {
    const { session, fault } = this.#link;
    if (session === undefined) {
      throw new BufferUnavailableError(`the buffer is out of reach: ${messageOf(fault)}`, { cause: fault });
    }
    return session;
  }

  async #publish({ client }: JetStreamSession, { rows, payload }: BatchMessage): Promise<void> {
    await client.publish(batchSubject(this.#names.batches, rows), payload, {
      headers: headersOf({ [ROWS_HEADER]: String(rows) }),
      timeout: ANSWER_TIMEOUT_MS,
    });
    this.#publishedBytes += payload.length + MESSAGE_OVERHEAD_BYTES;
  }

  async #look({ manager }: JetStreamSession): Promise<void> {
    const publishedBytes = this.#publishedBytes;
    const isCounting = this.#looks % LOOKS_PER_COUNT === 0;
    this.#looks += 1;
    const [{ state }, setAside] = await Promise.all([
      manager.streams.info(this.#names.batches, isCounting ? ALL_SUBJECTS : undefined),
      manager.streams.info(this.#names.setAside),
    ]).catch((error: unknown) => {
      if (mayBeGone(error)) {
        this.#link.doubt();
      }
      throw error;
    });
    this.#toldBytes = state.bytes;
    this.#toldPublishedBytes = publishedBytes;
    this.#messages = state.messages;
    if (isCounting || state.messages === 0) {
      this.#rows = rowsBySubject(state.subjects ?? {});
    }
    this.#setAsideMessages = setAside.state.messages;
  }

  async #setAside(batch: DeliveredBatch, fault: BatchFileError): Promise<void> {
    const { client } = this.#session();
    for (const { message, rows } of batch.parts) {
      await client.publish(this.#names.setAsideSubject, message.data, {
        headers: headersOf({
          [SUBJECT_HEADER]: message.subject,
          [REASON_HEADER]: fault.message.replaceAll(/[\r\n]+/g, " "),
          [ROWS_HEADER]: String(rows),
        }),
        timeout: ANSWER_TIMEOUT_MS,
      });
    }
    this.#setAsideMessages += batch.parts.length;
    this.#logger.error(
      { message: batch.name, rows: batch.rows, reason: fault.message, movedTo: this.#names.setAside },
      "buffer: a message cannot be read and was set aside; if it was a batch, its rows are not in the database",
    );
    this.#deliveries.acknowledge(batch);
  }
}

function headersOf(fields: Readonly<Record<string, string>>): MsgHdrs {
  const made = headers();
  for (const [name, value] of Object.entries(fields)) {
    made.set(name, value);
  }
  return made;
}
