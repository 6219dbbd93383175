/** Callers that push without pause, remember each OK, and try an event again until it has one. */
import { Agent } from "node:http";
import { newEventId, push } from "../../support/pushes.js";

export type AckName = "ACK_MODE_QUEUED" | "ACK_MODE_DURABLE";

export interface ProducerOptions {
  /** Where to push; asked before each call, since a restart may change it. */
  readonly url: () => string;
  readonly producers: number;
  readonly ack: AckName;
  /** Property of event `n`; default: always `news`. */
  readonly property?: (n: number) => string;
  /** How often each event is pushed, with the same event id; default: once. */
  readonly copies?: number;
  /** Pause after each acknowledged event, in milliseconds; default: none. */
  readonly pauseMs?: number;
}

/** One event as it was pushed; what the row must say. */
export interface PushedEvent {
  readonly eventId: string;
  readonly property: string;
  readonly itemId: number;
}

const RETRY_MS = 20;
const CALL_TIMEOUT_MS = 40_000;

/** Producers at work. */
export class Producers {
  /** Every event that was sent at least once. */
  readonly pushed = new Map<string, PushedEvent>();
  readonly acknowledged = new Set<string>();
  /** Calls that ended without OK: refused, or without an answer. */
  failedCalls = 0;
  readonly #options: ProducerOptions;
  readonly #agent: Agent;
  readonly #work: Promise<void>;
  readonly #watchers = new Set<() => void>();
  #isStopped = false;
  #next = 0;

  constructor(options: ProducerOptions) {
    this.#options = options;
    this.#agent = new Agent({ keepAlive: true, maxSockets: options.producers, timeout: CALL_TIMEOUT_MS });
    this.#work = Promise.all(Array.from({ length: options.producers }, () => this.#produce())).then(
      () => undefined,
    );
  }

  /** Resolves when this many more events have been acknowledged. */
  async acknowledges(count: number): Promise<void> {
    const target = this.acknowledged.size + count;
    while (this.acknowledged.size < target) {
      await new Promise<void>((resolve) => {
        this.#watchers.add(resolve);
      });
    }
  }

  /** Begins no new event, lets those that are under way end, and resolves then. */
  async stop(): Promise<void> {
    this.#isStopped = true;
    await this.#work;
    this.#agent.destroy();
  }

  async #produce(): Promise<void> {
    while (!this.#isStopped) {
      this.#next += 1;
      const itemId = this.#next;
      const property = this.#options.property?.(itemId) ?? "news";
      const event = { eventId: newEventId(), property, itemId };
      for (let copy = 0; copy < (this.#options.copies ?? 1); copy++) {
        await this.#pushUntilAcknowledged(event);
      }
      await pause(this.#options.pauseMs ?? 0);
    }
  }

  async #pushUntilAcknowledged(event: PushedEvent): Promise<void> {
    const { eventId, property, itemId } = event;
    this.pushed.set(eventId, event);
    const request = { property, section: 7, item: itemId, event_id: eventId, ack: this.#options.ack };
    for (;;) {
      const isOk = await push(this.#options.url(), request, this.#agent).then(
        ({ status }) => status === 200,
        () => false,
      );
      if (isOk) {
        this.acknowledged.add(eventId);
        for (const wake of this.#watchers) {
          wake();
        }
        this.#watchers.clear();
        return;
      }
      this.failedCalls += 1;
      if (this.#isStopped) {
        return;
      }
      await pause(RETRY_MS);
    }
  }
}

function pause(ms: number): Promise<void> {
  return ms === 0 ? Promise.resolve() : new Promise((resolve) => setTimeout(resolve, ms));
}
