/**
 * The messages that JetStream has delivered to this process and that are not acknowledged yet: asks for them when
 * somebody wants a batch, keeps them ours while a commit is slow, and hands them back when they cannot be written; it
 * writes none.
 *
 * Small messages are put together, so that a writer makes one transaction of what a hundred callers waited for.
 */
import type { EncodedBatch } from "../../event/tuple-codec.js";
import type { Clock } from "../../util/clock.js";
import { messageOf } from "../../util/error-message.js";
import { BatchFileError } from "../batch-file.js";
import type { BufferedBatch } from "../buffer.js";
import { fromMessage, rowsOf } from "./batch-message.js";
import type { JetStreamSession } from "./jetstream-link.js";
import { ANSWERS, PullConsumer, type PulledMessage } from "./pull-consumer.js";
import { ACK_WAIT_MS, CONSUMER } from "./stream-contract.js";

/** One message, and what is in it. */
export interface Delivered {
  readonly message: PulledMessage;
  readonly rows: number;
  readonly content: EncodedBatch | BatchFileError;
}

/** Messages that are written together; or one that cannot be read. */
export interface DeliveredBatch extends BufferedBatch {
  readonly parts: readonly Delivered[];
}

export interface DeliveriesDeps {
  readonly stream: string;
  readonly session: () => JetStreamSession | undefined;
  readonly clock: Clock;
}

/** Most of one batch, unless a single message has more. As a batch of the queue. */
const BATCH_ROWS = 10_000;
const BATCH_BYTES = 2 ** 20;
/** One request asks for no more than this, or a single message of the largest size. */
const PULL_MESSAGES = 256;
const PULL_BYTES = 2 * 2 ** 20;
/** Subject, reply and headers of a message count, too. */
const OVERHEAD_BYTES = 4_096;
const PULL_WAIT_MS = 5_000;
/** After a request that failed at once: without a leader, each one does. */
const PULL_PAUSE_MS = 500;
/** Messages of which it is known that they were handed back. */
const HANDED_BACK_MAX = 1_000;
const WORKING_EVERY_MS = ACK_WAIT_MS / 3;

/** `open` until close(). */
export class Deliveries {
  readonly #deps: DeliveriesDeps;
  /** Delivered and not yet in a batch, oldest first. */
  #waiting: Delivered[] = [];
  #current: DeliveredBatch | undefined;
  /** How often a message was in a batch that was handed back, by its sequence in the stream. */
  readonly #handedBack = new Map<number, number>();
  /** Of the session in which somebody last wanted a batch. */
  #consumer: PullConsumer | undefined;
  /** Whether somebody wants a batch. */
  #isWanted = false;
  #isClosed = false;
  #cancelPause: (() => void) | undefined;
  #cancelWorking: (() => void) | undefined;
  #onAvailable: (() => void) | undefined;

  constructor(deps: DeliveriesDeps) {
    this.#deps = deps;
  }

  /** Calls `listener` when a batch may be there that was not there before. */
  onAvailable(listener: (() => void) | undefined): void {
    this.#onAvailable = listener;
  }

  /** A session has begun. */
  resume(): void {
    if (this.#isWanted) {
      this.#ask();
    }
  }

  /** The oldest batch that is here, the same until it is taken out; when there is none, messages are asked for. */
  oldest(): DeliveredBatch | undefined {
    this.#isWanted = true;
    this.#current ??= this.#nextBatch();
    this.#ask();
    return this.#current;
  }

  /** Acknowledges a batch: its rows have ended. What is acknowledged in vain comes back, and ends as duplicates. */
  acknowledge(batch: DeliveredBatch): void {
    if (this.#current === batch) {
      this.#current = undefined;
    }
    this.#answer(batch.parts, ANSWERS.done);
    for (const { message } of batch.parts) {
      this.#handedBack.delete(message.sequence);
    }
    this.#ask();
  }

  /** Lets other processes have what is here, and asks for nothing until somebody wants a batch again. */
  giveBack(): void {
    this.#isWanted = false;
    // First, or what is handed back comes by the request that is open. What is on its way comes back by itself.
    this.#consumer?.close();
    this.#consumer = undefined;
    const parts = this.#held();
    this.#countHandedBack(this.#current?.parts ?? []);
    this.#current = undefined;
    this.#waiting = [];
    this.#answer(parts, ANSWERS.handedBack);
  }

  close(): void {
    if (!this.#isClosed) {
      this.#isClosed = true;
      this.#onAvailable = undefined;
      this.giveBack();
      this.#cancelWorking?.();
      this.#cancelPause?.();
    }
  }

  #nextBatch(): DeliveredBatch | undefined {
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
    return {
      name: `${this.#deps.stream}/${first.message.sequence}${count > 1 ? ` and ${count - 1} more` : ""}`,
      rows: parts.reduce((sum, part) => sum + part.rows, 0),
      deliveries: Math.max(...parts.map(({ message }) => this.#deliveriesOf(message))),
      parts,
    };
  }

  /** Old servers do not count a message that was handed back, so that is counted here. */
  #deliveriesOf({ deliveries, sequence }: PulledMessage): number {
    return Math.max(deliveries, (this.#handedBack.get(sequence) ?? 0) + 1);
  }

  #countHandedBack(parts: readonly Delivered[]): void {
    for (const { message } of parts) {
      this.#handedBack.set(message.sequence, this.#deliveriesOf(message));
    }
    for (const seq of [...this.#handedBack.keys()].slice(0, -HANDED_BACK_MAX)) {
      this.#handedBack.delete(seq);
    }
  }

  #held(): Delivered[] {
    return [...(this.#current?.parts ?? []), ...this.#waiting];
  }

  /** Says it on whichever connection there is; where there is none, the server's time for an answer runs out. */
  #answer(parts: readonly Delivered[], answer: string): void {
    const connection = this.#deps.session()?.connection;
    for (const { message } of connection === undefined ? [] : parts) {
      connection?.publish(message.reply, answer);
    }
  }

  /** Asks for messages, unless enough are here for the next batch, or on their way. */
  #ask(): void {
    const session = this.#deps.session();
    if (session === undefined || this.#isClosed || this.#cancelPause !== undefined || this.#hasEnough()) {
      return;
    }
    if (this.#consumer?.connection !== session.connection) {
      this.#consumer?.close();
      this.#consumer = this.#newConsumer(session);
    }
    if (!this.#consumer.isAsking) {
      this.#consumer.ask({
        maxMessages: PULL_MESSAGES,
        maxBytes: Math.max(PULL_BYTES, session.maxPayloadBytes + OVERHEAD_BYTES),
        waitMs: PULL_WAIT_MS,
      });
    }
  }

  #newConsumer({ connection }: JetStreamSession): PullConsumer {
    const { stream, clock } = this.#deps;
    return new PullConsumer({
      connection,
      stream,
      consumer: CONSUMER,
      clock,
      onMessage: (message) => this.#take(message),
      onEnd: (isAtFault) => this.#askAgain(isAtFault),
    });
  }

  #askAgain(isAtFault: boolean): void {
    if (!isAtFault) {
      this.resume();
      return;
    }
    this.#cancelPause = this.#deps.clock.schedule(PULL_PAUSE_MS, () => {
      this.#cancelPause = undefined;
      this.resume();
    });
  }

  #hasEnough(): boolean {
    const bytes = this.#waiting.reduce((sum, { message }) => sum + message.data.length, 0);
    const rows = this.#waiting.reduce((sum, each) => sum + each.rows, 0);
    return bytes >= BATCH_BYTES || rows >= BATCH_ROWS;
  }

  #take(message: PulledMessage): void {
    this.#waiting.push({ message, ...read(message) });
    this.#keepWorking();
    this.#onAvailable?.();
  }

  /** While messages are here, says so to the server before it takes them for lost. */
  #keepWorking(): void {
    this.#cancelWorking ??= this.#deps.clock.schedule(WORKING_EVERY_MS, () => {
      this.#cancelWorking = undefined;
      const held = this.#held();
      if (held.length > 0) {
        this.#answer(held, ANSWERS.stillWorking);
        this.#keepWorking();
      }
    });
  }
}

function read(message: PulledMessage): Pick<Delivered, "rows" | "content"> {
  try {
    const content = fromMessage(message.data);
    return { rows: content.rows, content };
  } catch (error) {
    const content = error instanceof BatchFileError ? error : new BatchFileError(messageOf(error));
    return { rows: content.rows ?? rowsOf(message.subject), content };
  }
}
