/** The events that wait in the client, in batches and within bounds; it never sends one. */
import type { StatsEvent } from "./event.js";

/** An event in the buffer, with all that is sent of it fixed. */
export interface BufferedEvent {
  /** What the caller pushed, to tell of it in the caller's terms. */
  readonly source: StatsEvent;
  readonly property: string;
  readonly section: number;
  readonly id: number;
  readonly eventId: string;
  /** What it takes in a request at most, in bytes. */
  readonly bytes: number;
  /** Ascends with each push. */
  readonly order: number;
}

/** Events that are sent in one call, by ascending order. Never empty. */
export type EventBatch = readonly BufferedEvent[];

export interface BufferBounds {
  /** Events and bytes in the buffer, those in flight included. */
  readonly maxEvents: number;
  readonly maxBytes: number;
  /** Events and bytes in a batch. */
  readonly batchEvents: number;
  readonly batchBytes: number;
}

/** An event is in the open batch, then in a sealed one, then in flight; from there it leaves or is sealed again. */
export class EventBuffer {
  readonly #bounds: BufferBounds;
  #batchEvents: number;
  #open: BufferedEvent[] = [];
  #openBytes = 0;
  #sealed: EventBatch[] = [];
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

  get hasOpen(): boolean {
    return this.#open.length > 0;
  }

  /** True when an event of that size can be added. */
  hasRoom(bytes: number): boolean {
    return this.#events < this.#bounds.maxEvents && this.#bytes + bytes <= this.#bounds.maxBytes;
  }

  /** Adds an event to the open batch, and seals batches that are full. The caller sees to it that there is room. */
  add(event: BufferedEvent): void {
    if (this.#openBytes + event.bytes > this.#bounds.batchBytes) {
      this.seal();
    }
    this.#open.push(event);
    this.#openBytes += event.bytes;
    this.#events += 1;
    this.#bytes += event.bytes;
    if (this.#open.length >= this.#batchEvents) {
      this.seal();
    }
  }

  /** Lets the open batch go, if there is one. */
  seal(): void {
    if (this.hasOpen) {
      this.#sealed.push(this.#open);
      this.#open = [];
      this.#openBytes = 0;
    }
  }

  /** The oldest sealed batch, which is in flight from now on. */
  take(): EventBatch | undefined {
    const batch = this.#sealed.shift();
    if (batch !== undefined) {
      this.#inFlight.add(batch);
    }
    return batch;
  }

  /**
   * Ends a flight: of its events, those in `again` go to the front once more, in these batches; the others leave. A batch
   * that comes back in parts was too long for one call: later ones get no longer than such a part.
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
    this.#sealed.unshift(...again);
    if (again.length > 1) {
      this.#batchEvents = Math.min(this.#batchEvents, ...again.map(({ length }) => length));
    }
  }

  /** Order of the oldest event in the buffer; infinite when it is empty. */
  oldest(): number {
    const firsts = [this.#open, ...this.#sealed, ...this.#inFlight].map((batch) => batch[0]?.order);
    return Math.min(...firsts.map((order) => order ?? Number.POSITIVE_INFINITY));
  }
}
