/**
 * The messages that JetStream has delivered to this process and that are not acknowledged yet: asks for them when
 * somebody wants a batch, keeps them ours while a commit is slow, and hands them back when they cannot be written; it
 * writes none.
 *
 * Small messages are put together, so that a writer makes one transaction of what a hundred callers waited for.
 */
import type { ConsumerMessages, JsMsg } from "@nats-io/jetstream";
import type { NatsConnection } from "@nats-io/transport-node";
import type { Logger } from "pino";
import type { EncodedBatch } from "../../event/tuple-codec.js";
import type { Clock } from "../../util/clock.js";
import { messageOf } from "../../util/error-message.js";
import { BatchFileError } from "../batch-file.js";
import type { BufferedBatch } from "../buffer.js";
import { fromMessage, rowsOf } from "./batch-message.js";
import type { JetStreamSession } from "./jetstream-link.js";
import { ACK_WAIT_MS } from "./stream-contract.js";

/** One message, and what is in it. */
export interface Delivered {
  readonly message: JsMsg;
  /** What it came on, and can be answered on. Once that is closed, the message is delivered anew when its time is over. */
  readonly connection: NatsConnection;
  readonly rows: number;
  readonly content: EncodedBatch | BatchFileError;
}

/** Messages that are written together; or one that cannot be read. */
export interface DeliveredBatch extends BufferedBatch {
  readonly parts: readonly Delivered[];
}

export interface DeliveriesDeps {
  readonly session: () => JetStreamSession | undefined;
  readonly clock: Clock;
  readonly logger: Logger;
}

/** Most of one batch, unless a single message has more. As a batch of the queue. */
const BATCH_ROWS = 10_000;
const BATCH_BYTES = 2 ** 20;
/** One request asks for no more than this, or a single message of the largest size. */
const PULL_BYTES = 2 * 2 ** 20;
/** Subject, reply and headers of a message count, too. */
const OVERHEAD_BYTES = 4_096;
const PULL_WAIT_MS = 5_000;
/** After a request that failed at once: without a leader, each one does. */
const PULL_PAUSE_MS = 500;
const WORKING_EVERY_MS = ACK_WAIT_MS / 3;

/** `open` until close(). */
export class Deliveries {
  readonly #deps: DeliveriesDeps;
  /** Delivered and not yet in a batch, oldest first. */
  #waiting: Delivered[] = [];
  #current: DeliveredBatch | undefined;
  /** The request on which messages come. */
  #pull: ConsumerMessages | undefined;
  #isPulling = false;
  #isClosed = false;
  #cancelWorking: (() => void) | undefined;
  #onAvailable: (() => void) | undefined;

  constructor(deps: DeliveriesDeps) {
    this.#deps = deps;
  }

  /** Calls `listener` when a batch may be there that was not there before. */
  onAvailable(listener: (() => void) | undefined): void {
    this.#onAvailable = listener;
  }

  /** The oldest batch that is here, the same until it is taken out; when there is none, messages are asked for. */
  oldest(): DeliveredBatch | undefined {
    this.#current ??= this.#nextBatch();
    this.#ask();
    return this.#current;
  }

  /** Acknowledges a batch: its rows have ended. What is acknowledged in vain comes back, and ends as duplicates. */
  acknowledge(batch: DeliveredBatch): void {
    if (this.#current === batch) {
      this.#current = undefined;
    }
    answer(batch.parts, (message) => message.ack());
    this.#ask();
  }

  /** Lets other processes have what is here, and asks for nothing until somebody wants a batch again. */
  giveBack(): void {
    this.#pull?.stop();
    const parts = this.#held();
    this.#current = undefined;
    this.#waiting = [];
    answer(parts, (message) => message.nak());
  }

  close(): void {
    if (!this.#isClosed) {
      this.#isClosed = true;
      this.#onAvailable = undefined;
      this.giveBack();
      this.#cancelWorking?.();
    }
  }

  #nextBatch(): DeliveredBatch | undefined {
    this.#waiting = this.#waiting.filter(isAnswerable);
    const [first] = this.#waiting;
    if (first === undefined) {
      return undefined;
    }
    let { rows } = first;
    let bytes = first.message.data.length;
    let count = 1;
    if (!(first.content instanceof BatchFileError)) {
      for (const next of this.#waiting.slice(1)) {
        rows += next.rows;
        bytes += next.message.data.length;
        if (next.content instanceof BatchFileError || rows > BATCH_ROWS || bytes > BATCH_BYTES) {
          break;
        }
        count += 1;
      }
    }
    const parts = this.#waiting.splice(0, count);
    const { stream, streamSequence } = first.message.info;
    return {
      name: `${stream}/${streamSequence}${count > 1 ? ` and ${count - 1} more` : ""}`,
      rows: parts.reduce((sum, part) => sum + part.rows, 0),
      deliveries: Math.max(...parts.map(({ message }) => message.info.deliveryCount)),
      parts,
    };
  }

  #held(): Delivered[] {
    return [...(this.#current?.parts ?? []), ...this.#waiting];
  }

  /** Asks for messages, unless enough are here for the next batch, or on their way. */
  #ask(): void {
    if (!this.#isPulling && !this.#isClosed && !this.#hasEnough()) {
      this.#isPulling = true;
      void this.#fetch();
    }
  }

  #hasEnough(): boolean {
    const bytes = this.#waiting.reduce((sum, { message }) => sum + message.data.length, 0);
    const rows = this.#waiting.reduce((sum, each) => sum + each.rows, 0);
    return bytes >= BATCH_BYTES || rows >= BATCH_ROWS;
  }

  /** One request. Never rejects. */
  async #fetch(): Promise<void> {
    const session = this.#deps.session();
    let pauseMs = 0;
    try {
      if (session !== undefined) {
        const max_bytes = Math.max(PULL_BYTES, session.maxPayloadBytes + OVERHEAD_BYTES);
        this.#pull = await session.consumer.fetch({ max_bytes, expires: PULL_WAIT_MS });
        for await (const message of this.#pull) {
          this.#take(message, session.connection);
        }
      }
    } catch (error) {
      // So a request ends that the next message is too large for, after those that fitted.
      if ((error as { code?: unknown }).code !== 409) {
        this.#deps.logger.debug({ reason: messageOf(error) }, "buffer: a request for messages failed");
        pauseMs = PULL_PAUSE_MS;
      }
    } finally {
      this.#pull = undefined;
      this.#deps.clock.schedule(session === undefined ? PULL_PAUSE_MS : pauseMs, () => {
        this.#isPulling = false;
        // Whoever still wants a batch asks again.
        this.#onAvailable?.();
      });
    }
  }

  #take(message: JsMsg, connection: NatsConnection): void {
    this.#waiting.push({ message, connection, ...read(message) });
    this.#keepWorking();
    this.#onAvailable?.();
  }

  /** While messages are here, says so to the server before it takes them for lost. */
  #keepWorking(): void {
    this.#cancelWorking ??= this.#deps.clock.schedule(WORKING_EVERY_MS, () => {
      this.#cancelWorking = undefined;
      const held = this.#held();
      if (held.length > 0) {
        answer(held, (message) => message.working());
        this.#keepWorking();
      }
    });
  }
}

function isAnswerable({ connection }: Delivered): boolean {
  return !connection.isClosed();
}

function answer(parts: readonly Delivered[], how: (message: JsMsg) => void): void {
  for (const { message } of parts.filter(isAnswerable)) {
    how(message);
  }
}

function read(message: JsMsg): Pick<Delivered, "rows" | "content"> {
  try {
    const content = fromMessage(message.data);
    return { rows: content.rows, content };
  } catch (error) {
    const content = error instanceof BatchFileError ? error : new BatchFileError(messageOf(error));
    return { rows: content.rows ?? rowsOf(message.subject), content };
  }
}
