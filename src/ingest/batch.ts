/** One batch of encoded events: grows while open, then is fixed; it never decides when it is sealed. */
import { TUPLE_MAX_BYTES, writeTuple } from "../postgres/incoming-codec.js";
import type { EncodedBatch } from "../sink/sink.js";

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

/**
 * A batch: a list of chunks, filled from front to back, whole tuples in each.
 *
 * Callers that asked for durability wait for {@link Batch.settled}; one promise serves them all.
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
  #settlement: PromiseWithResolvers | undefined;
  #isSettled = false;

  /** True when the next event needs {@link Batch.extend} first. */
  get needsChunk(): boolean {
    return this.#tail === undefined || this.#tail.length - this.#tailUsed < TUPLE_MAX_BYTES;
  }

  /** Whole chunks that it holds, in use or not. */
  get chunkCount(): number {
    return this.#full.length + (this.#tail === undefined ? 0 : 1);
  }

  /** True when a caller waits for {@link Batch.settled}. */
  get hasWaiters(): boolean {
    return this.#settlement !== undefined && !this.#isSettled;
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

  /** Resolves when the batch is on stable storage; rejects with BatchAbandonedError when it never will be. */
  settled(): Promise<void> {
    this.#settlement ??= withResolvers();
    return this.#settlement.promise;
  }

  /** Says that every row of the batch has ended. */
  settle(): void {
    this.#isSettled = true;
    this.#settlement ??= withResolvers();
    this.#settlement.resolve();
  }

  /** Says that the process ends with the rows in memory. */
  abandon(): void {
    this.#isSettled = true;
    this.#settlement ??= withResolvers();
    this.#settlement.reject(new BatchAbandonedError());
  }

  #closeTail(): void {
    if (this.#tail !== undefined) {
      this.chunks.push(this.#tail.subarray(0, this.#tailUsed));
      this.#full.push(this.#tail);
    }
  }
}

interface PromiseWithResolvers {
  readonly promise: Promise<void>;
  readonly resolve: () => void;
  readonly reject: (reason: Error) => void;
}

/** Promise.withResolvers, which Node 20 does not have. */
function withResolvers(): PromiseWithResolvers {
  let resolve: (() => void) | undefined;
  let reject: ((reason: Error) => void) | undefined;
  const promise = new Promise<void>((onResolve, onReject) => {
    resolve = onResolve;
    reject = onReject;
  });
  // Waiters may all have gone (their deadline passed) by the time it rejects.
  promise.catch(() => undefined);
  return { promise, resolve: resolve as () => void, reject: reject as (reason: Error) => void };
}
