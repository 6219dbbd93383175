/** One batch of encoded events: grows while open, then is fixed; it never decides when it is sealed. */

import { type EncodedBatch, TUPLE_MAX_BYTES, writeTuple } from "../event/tuple-codec.js";

/** An event that passed admission; all of its bytes are decided. */
export interface AdmittedEvent {
  /** UUIDv7, 16 bytes. Read before the call returns; the array may be reused after it. */
  readonly id: Uint8Array;
  /** 1 to 32 ASCII characters. */
  readonly property: string;
  /** uint32, not 0. */
  readonly section: number;
  /** uint32, not 0. */
  readonly itemId: number;
  /** PostgreSQL's binary inet; empty when the address is not known. */
  readonly inet: Uint8Array;
}

/** The process ends before the batch could be put on stable storage. */
export class BatchAbandonedError extends Error {
  override readonly name = "BatchAbandonedError";

  constructor() {
    super("the service stopped before the event was on stable storage");
  }
}

/** Hears, once, that a batch is on stable storage or, with an error, that it never will be. Must not throw. */
export type BatchWaiter = (error?: BatchAbandonedError) => void;

/**
 * A batch: a list of chunks, filled from front to back, whole tuples in each.
 *
 * Callers that asked for durability wait at it. In an outage it lives for hours and they come and go, so it keeps nothing
 * of one who has gone: a promise that all wait for would.
 */
export class Batch implements EncodedBatch {
  readonly chunks: Uint8Array[] = [];
  rows = 0;
  bytes = 0;
  /** How often it was given to the sink. */
  attempts = 0;
  /** Bytes by the caller that they came from, as far as callers are told apart. */
  readonly shares = new Map<string, number>();
  /** When its first event came, in the clock's elapsed milliseconds; undefined while it has none. */
  openedAt: number | undefined;

  #tail: Uint8Array | undefined;
  #tailUsed = 0;
  readonly #full: Uint8Array[] = [];
  readonly #waiters = new Set<BatchWaiter>();
  /** What waiters are told; undefined while it is not known. */
  #ending: { readonly error: BatchAbandonedError | undefined } | undefined;

  /** True when the next event needs {@link Batch.extend} first. */
  get needsChunk(): boolean {
    return this.#tail === undefined || this.#tail.length - this.#tailUsed < TUPLE_MAX_BYTES;
  }

  /** True when a caller waits for it to be on stable storage. */
  get hasWaiters(): boolean {
    return this.#waiters.size > 0;
  }

  /** Adds an empty chunk to write into. */
  extend(chunk: Uint8Array): void {
    this.#closeTail();
    this.#tail = chunk;
    this.#tailUsed = 0;
  }

  /** Encodes an event, and returns its bytes. {@link Batch.needsChunk} must be false. */
  append(event: AdmittedEvent): number {
    const start = this.#tailUsed;
    this.#tailUsed = writeTuple(
      this.#tail as Uint8Array,
      start,
      event.id,
      event.property,
      event.section,
      event.itemId,
      event.inet,
    );
    const bytes = this.#tailUsed - start;
    this.bytes += bytes;
    this.rows += 1;
    return bytes;
  }

  /** Fixes the content; {@link Batch.chunks} is complete from here on. */
  seal(): void {
    this.#closeTail();
    this.#tail = undefined;
  }

  /** Gives up the memory for reuse. Nothing may read the chunks any more. */
  takeChunks(): Uint8Array[] {
    this.chunks.length = 0;
    return this.#full.splice(0);
  }

  /** Tells `waiter` what becomes of the batch; at once, when that is known. */
  wait(waiter: BatchWaiter): void {
    if (this.#ending === undefined) {
      this.#waiters.add(waiter);
    } else {
      waiter(this.#ending.error);
    }
  }

  /** Tells a waiter nothing any more. */
  forget(waiter: BatchWaiter): void {
    this.#waiters.delete(waiter);
  }

  /** Says that every row of the batch has ended. */
  settle(): void {
    this.#end(undefined);
  }

  /** Says that the process ends with the rows in memory. */
  abandon(): void {
    this.#end(new BatchAbandonedError());
  }

  #end(error: BatchAbandonedError | undefined): void {
    this.#ending = { error };
    const waiters = [...this.#waiters];
    this.#waiters.clear();
    for (const waiter of waiters) {
      waiter(error);
    }
  }

  #closeTail(): void {
    if (this.#tail !== undefined) {
      this.chunks.push(this.#tail.subarray(0, this.#tailUsed));
      this.#full.push(this.#tail);
    }
  }
}

/** Sealed batches, at least one, as one. Chunks may be many and tiny, each a write of its own: those of several are copied. */
export function joinBatches(batches: readonly Batch[]): EncodedBatch {
  const [first] = batches;
  if (first !== undefined && batches.length === 1) {
    return first;
  }
  const payload = Buffer.concat(batches.flatMap(({ chunks }) => chunks));
  const rows = batches.reduce((sum, batch) => sum + batch.rows, 0);
  return { rows, bytes: payload.length, chunks: [payload] };
}
