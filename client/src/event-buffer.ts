/** The events that wait in the client, in batches and within bounds; it never sends one. */
import type { StatsEvent } from "./event.js";

/** An event in the buffer, with all that is sent of it fixed. */
export interface BufferedEvent {
  /** What the caller pushed, to tell of it in the caller's terms. */
  readonly source: StatsEvent;
  readonly property: string;
  readonly section: number;
  readonly item: number;
  readonly eventId: string;
  /** What it takes in a request at most, in bytes. */
  readonly bytes: number;
  /** Ascends with each push. */
  readonly order: number;
}

/** Events that are sent in one call, by ascending order. Those that are taken are never empty. */
export type EventBatch = readonly BufferedEvent[];

export interface BufferBounds {
  /** Events and bytes in the buffer, those in flight included. */
  readonly maxEvents: number;
  readonly maxBytes: number;
  /** Events and bytes in a batch. */
  readonly batchEvents: number;
  readonly batchBytes: number;
}

/** Calls that the service takes whole until batches have grown from next to nothing to their full length. */
const GROWTH_STEPS = 64;

/**
 * An event waits, then it is in flight; from there it leaves, or waits to be sent again. Batches are made when they are
 * taken, not before: what comes while no call may be made goes in few long calls after it.
 */
export class EventBuffer {
  readonly #bounds: BufferBounds;
  #batchEvents: number;
  /** By ascending order; those before `#next` have been taken. */
  #waiting: BufferedEvent[] = [];
  #next = 0;
  /** Of those that wait. */
  #waitingBytes = 0;
  /** Events up to this order need not wait for a full batch. */
  #releasedThrough = 0;
  /** Few: parts of what was in flight. */
  readonly #again: EventBatch[] = [];
  readonly #inFlight = new Set<EventBatch>();
  #events = 0;
  #bytes = 0;

  constructor(bounds: BufferBounds) {
    this.#bounds = bounds;
    this.#batchEvents = bounds.batchEvents;
  }

  /** Events in the buffer, those in flight included. */
  get events(): number {
    return this.#events;
  }

  /** True when an event waits that has not been released. */
  get hasUnreleased(): boolean {
    return this.#next < this.#waiting.length && this.#lastOrder() > this.#releasedThrough;
  }

  /** True when an event of that size can be added. */
  hasRoom(bytes: number): boolean {
    return this.#events < this.#bounds.maxEvents && this.#bytes + bytes <= this.#bounds.maxBytes;
  }

  /** Adds an event. The caller sees to it that there is room. */
  add(event: BufferedEvent): void {
    this.#waiting.push(event);
    this.#waitingBytes += event.bytes;
    this.#events += 1;
    this.#bytes += event.bytes;
  }

  /** Lets all go that is there, though it may not make a full batch. */
  release(): void {
    this.#releasedThrough = this.#lastOrder();
  }

  /**
   * The next batch to send, of `maxBytes` at most, in flight from now on: one that is to be sent again, or of the oldest that
   * wait.
   */
  take(maxBytes = Number.POSITIVE_INFINITY): EventBatch | undefined {
    const batch =
      this.#again.length > 0 ? this.#takeAgain(maxBytes) : this.#isDue() ? this.#cut(maxBytes) : [];
    if (batch.length === 0) {
      return undefined;
    }
    this.#inFlight.add(batch);
    return batch;
  }

  /**
   * Ends a flight: of its events, those in `again` are sent once more, before all others and in these batches; the others
   * leave. A batch that comes back in parts was too long for one call: later ones get no longer than such a part. But they
   * grow again with each that was taken whole: what refused it may have been a proxy that is mended by now.
   */
  land(batch: EventBatch, again: readonly EventBatch[]): void {
    this.#inFlight.delete(batch);
    const left = new Set(again.flat());
    for (const event of batch) {
      if (!left.has(event)) {
        this.#events -= 1;
        this.#bytes -= event.bytes;
      }
    }
    this.#again.unshift(...again);
    if (again.length > 1) {
      this.#batchEvents = Math.min(this.#batchEvents, Math.max(...again.map(({ length }) => length)));
    } else if (again.length === 0 && batch.length >= this.#batchEvents) {
      const { batchEvents } = this.#bounds;
      this.#batchEvents = Math.min(batchEvents, this.#batchEvents + Math.ceil(batchEvents / GROWTH_STEPS));
    }
  }

  /** Order of the oldest event in the buffer; infinite when it is empty. */
  oldest(): number {
    const firsts = [...this.#again, ...this.#inFlight].map(([first]) => first);
    const orders = [this.#waiting[this.#next], ...firsts].map((event) => event?.order);
    return Math.min(...orders.map((order) => order ?? Number.POSITIVE_INFINITY));
  }

  #lastOrder(): number {
    return this.#waiting.at(-1)?.order ?? 0;
  }

  /** True when a batch may be made of those that wait: they fill one, or the first was released. */
  #isDue(): boolean {
    const first = this.#waiting[this.#next];
    return (
      first !== undefined &&
      (first.order <= this.#releasedThrough ||
        this.#waiting.length - this.#next >= this.#batchEvents ||
        this.#waitingBytes >= this.#bounds.batchBytes)
    );
  }

  /** The first batch to be sent again, or the part of it that has room. */
  #takeAgain(maxBytes: number): EventBatch {
    const [first = []] = this.#again;
    const length = lengthWithin(first, maxBytes);
    const rest = first.slice(length);
    this.#again.splice(0, 1, ...(rest.length === 0 ? [] : [rest]));
    return rest.length === 0 ? first : first.slice(0, length);
  }

  /** As many of those that wait as fit in a batch. */
  #cut(maxBytes: number): EventBatch {
    const candidates = this.#waiting.slice(this.#next, this.#next + this.#batchEvents);
    const batch = candidates.slice(0, lengthWithin(candidates, Math.min(maxBytes, this.#bounds.batchBytes)));
    this.#waitingBytes -= bytesOf(batch);
    this.#next += batch.length;
    // Not each time: that would move all that wait for each batch.
    if (4 * this.#next >= this.#waiting.length) {
      this.#waiting = this.#waiting.slice(this.#next);
      this.#next = 0;
    }
    return batch;
  }
}

/** What the events take in a request at most, in bytes. */
export function bytesOf(batch: EventBatch): number {
  return batch.reduce((total, { bytes }) => total + bytes, 0);
}

/** How many of the events, from the first on, take no more than that. */
function lengthWithin(events: EventBatch, maxBytes: number): number {
  let bytes = 0;
  const beyond = events.findIndex((event) => {
    bytes += event.bytes;
    return bytes > maxBytes;
  });
  return beyond === -1 ? events.length : beyond;
}
