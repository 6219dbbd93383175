/**
 * What is said to a pull consumer of JetStream and by it, on one connection: requests for messages, the messages, and that
 * a request has ended. Keeps no message.
 *
 * By hand, since the client library bounds a request either by messages or by bytes: with bytes alone it asks for a hundred
 * messages and then waits for the rest of the time, with messages alone a hundred may be of 1 MB each.
 *
 * Protocol: https://docs.nats.io/reference/reference-protocols/nats_api_reference
 */
import {
  createInbox,
  type Msg,
  type NatsConnection,
  nanos,
  type Subscription,
} from "@nats-io/transport-node";
import type { Clock } from "../../util/clock.js";

/** A message as it was delivered. */
export interface PulledMessage {
  readonly subject: string;
  readonly data: Uint8Array;
  /** Its number in the stream. */
  readonly sequence: number;
  /** How often the server has delivered it, as far as it counts. */
  readonly deliveries: number;
  /** Where what becomes of it is said; on any connection. */
  readonly reply: string;
}

/** What can be said of a message. */
export const ANSWERS = {
  done: "+ACK",
  /** Another may have it at once. */
  handedBack: "-NAK",
  stillWorking: "+WPI",
} as const;

export interface PullConsumerDeps {
  readonly connection: NatsConnection;
  readonly stream: string;
  readonly consumer: string;
  readonly clock: Clock;
  readonly onMessage: (message: PulledMessage) => void;
  /** No more messages come by this request. `isAtFault`: it failed, and so may the next. */
  readonly onEnd: (isAtFault: boolean) => void;
}

/** One request. */
export interface PullOptions {
  readonly maxMessages: number;
  readonly maxBytes: number;
  readonly waitMs: number;
}

/** How much longer than the server's time-out we wait for its word of it. */
const GRACE_MS = 1_000;
/** No messages, time-out, and "the next message is too large for what is left of the request". */
const USUAL_ENDS = new Set([404, 408, 409]);
const IDLE_HEARTBEAT = 100;

/** One request at a time. */
export class PullConsumer {
  readonly #deps: PullConsumerDeps;
  readonly #inbox = createInbox();
  readonly #subscription: Subscription;
  #messagesLeft = 0;
  #cancelDeadline: (() => void) | undefined;

  constructor(deps: PullConsumerDeps) {
    this.#deps = deps;
    this.#subscription = deps.connection.subscribe(this.#inbox, {
      callback: (error, message) => this.#hear(error, message),
    });
  }

  get connection(): NatsConnection {
    return this.#deps.connection;
  }

  /** True while messages may come that were asked for. */
  get isAsking(): boolean {
    return this.#cancelDeadline !== undefined;
  }

  /** Asks for messages. */
  ask({ maxMessages, maxBytes, waitMs }: PullOptions): void {
    const { connection, stream, consumer, clock } = this.#deps;
    this.#messagesLeft = maxMessages;
    this.#cancelDeadline = clock.schedule(waitMs + GRACE_MS, () => this.#end(false));
    const request = { batch: maxMessages, max_bytes: maxBytes, expires: nanos(waitMs) };
    connection.publish(`$JS.API.CONSUMER.MSG.NEXT.${stream}.${consumer}`, JSON.stringify(request), {
      reply: this.#inbox,
    });
  }

  close(): void {
    this.#cancelDeadline?.();
    this.#cancelDeadline = undefined;
    this.#subscription.unsubscribe();
  }

  #hear(error: Error | null, message: Msg): void {
    // A message of the consumer says where it is answered; what has no such place is word of the request.
    const { reply } = message ?? {};
    if (error === null && reply?.startsWith("$JS.ACK.") === true) {
      this.#messagesLeft -= 1;
      this.#deps.onMessage(pulledMessage(message, reply));
      if (this.#messagesLeft === 0) {
        this.#end(false);
      }
      return;
    }
    const code = message?.headers?.code ?? 0;
    if (error !== null || code !== IDLE_HEARTBEAT) {
      this.#end(error !== null || !USUAL_ENDS.has(code));
    }
  }

  #end(isAtFault: boolean): void {
    if (this.#cancelDeadline !== undefined) {
      this.#cancelDeadline();
      this.#cancelDeadline = undefined;
      this.#deps.onEnd(isAtFault);
    }
  }
}

/** `$JS.ACK.<stream>.<consumer>.<deliveries>.<sequence>.…`, or with a domain and an account's hash in front of the stream. */
function pulledMessage({ subject, data }: Msg, reply: string): PulledMessage {
  const tokens = reply.split(".");
  const start = tokens.length < 11 ? 4 : 6;
  return {
    subject,
    data,
    reply,
    deliveries: Number(tokens[start]),
    sequence: Number(tokens[start + 1]),
  };
}
