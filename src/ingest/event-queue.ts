/**
 * The events that wait in memory: an open batch and the sealed ones behind it, bounded in bytes; it never
 * starts a flush.
 */

import { TUPLE_MAX_BYTES } from "../event/tuple-codec.js";
import { type Clock, systemClock } from "../util/clock.js";
import { FairShare, mayTakeMore } from "../util/fair-share.js";
import { type AdmittedEvent, Batch } from "./batch.js";

/** Large enough that a COPY message costs little, small enough that a lone event does not hold much. */
const CHUNK_MAX_BYTES = 64 * 1024;
/** Chunks kept for reuse when the queue is empty again: 4 MiB. */
const SPARE_CHUNKS_MAX = 64;

export interface EventQueueLimits {
  /** Memory for events, in bytes, counted in whole chunks, with the batches in flight. */
  readonly queueMaxBytes: number;
  /** Rows at which a batch is sealed. */
  readonly flushMaxRows: number;
}

/** Fewest bytes that a queue for batches of `flushMaxRows` rows can work with: one chunk in flight, one open. */
export function queueMinBytes(flushMaxRows: number): number {
  return 2 * chunkBytesFor(flushMaxRows);
}

function chunkBytesFor(flushMaxRows: number): number {
  return Math.min(CHUNK_MAX_BYTES, flushMaxRows * TUPLE_MAX_BYTES);
}

/**
 * A bounded queue of batches. Memory is counted when a chunk is taken and given back only by
 * {@link EventQueue.release}, so that what is in flight counts too.
 */
export class EventQueue {
  readonly #flushMaxRows: number;
  readonly #chunkBytes: number;
  readonly #chunksMax: number;
  readonly #clock: Clock;
  readonly #spare: Uint8Array[] = [];
  readonly #sealed: Batch[] = [];
  readonly #shares = new FairShare();
  /** Handed out, and neither put back nor released. */
  readonly #taken = new Set<Batch>();
  #open = new Batch();
  #chunksInUse = 0;
  #rows = 0;

  /** `clock` tells how old events are; default: the machine's. */
  constructor(limits: EventQueueLimits, clock: Clock = systemClock) {
    this.#clock = clock;
    this.#flushMaxRows = limits.flushMaxRows;
    this.#chunkBytes = chunkBytesFor(limits.flushMaxRows);
    this.#chunksMax = Math.floor(limits.queueMaxBytes / this.#chunkBytes);
  }

  /** Rows that have no final outcome yet, those in flight included. */
  get rows(): number {
    return this.#rows;
  }

  /** Of them, those whose batch has been taken: the sink is writing it, or the buffer. */
  get inFlightRows(): number {
    let rows = 0;
    for (const batch of this.#taken) {
      rows += batch.rows;
    }
    return rows;
  }

  /** How long the oldest event has been here, in milliseconds; 0 when there is none. */
  get oldestAgeMs(): number {
    const now = this.#clock.elapsed();
    let age = 0;
    for (const batch of [...this.#taken, ...this.#sealed, this.#open]) {
      age = Math.max(age, now - (batch.openedAt ?? now));
    }
    return age;
  }

  /** Memory in use, in bytes. */
  get bytes(): number {
    return this.#chunksInUse * this.#chunkBytes;
  }

  /** Upper bound of {@link EventQueue.bytes}: as many whole chunks as the limit has room for. */
  get maxBytes(): number {
    return this.#chunksMax * this.#chunkBytes;
  }

  /** Share of the memory in use, from 0 to 1. */
  get fullness(): number {
    return this.#chunksInUse / this.#chunksMax;
  }

  /** True when a sealed batch waits to be taken. */
  get hasSealed(): boolean {
    return this.#sealed.length > 0;
  }

  /** The sealed batch that {@link EventQueue.take} would hand out. */
  get oldest(): Batch | undefined {
    return this.#sealed[0];
  }

  /** The batch that takes the next event; has no rows when nothing came since the last seal. */
  get open(): Batch {
    return this.#open;
  }

  /** True when a caller waits for an event in here, batches in flight aside, to be on stable storage. */
  get hasWaiters(): boolean {
    return this.#open.hasWaiters || this.#sealed.some((batch) => batch.hasWaiters);
  }

  /** Whether an event of the caller would leave the others their share; there may be no room for it all the same. */
  allows(caller: string): boolean {
    return this.#shares.allows(caller, this.maxBytes - this.bytes);
  }

  /** The same for that many events, however large they are; others may be allowed, too. */
  allowsMany(rows: number, caller: string): boolean {
    const freeBytes = (this.#chunksMax - this.#chunksInUse - this.#chunksForMany(rows)) * this.#chunkBytes;
    return this.#shares.allows(caller, freeBytes, (rows - 1) * TUPLE_MAX_BYTES);
  }

  /** True when that many events fit, however large they are; others may fit, too. */
  hasRoomFor(rows: number): boolean {
    return this.#chunksInUse + this.#chunksForMany(rows) <= this.#chunksMax;
  }

  /** Whether that many events of the caller, or of nobody in particular, would fit and be allowed if there were no others. */
  couldHold(rows: number, caller?: string): boolean {
    const freeChunks = this.#chunksMax - this.#chunksForMany(rows, 0);
    const isFair = mayTakeMore((rows - 1) * TUPLE_MAX_BYTES, freeChunks * this.#chunkBytes);
    return freeChunks >= 0 && (caller === undefined || isFair);
  }

  /** Encodes an event and returns the batch that holds it; undefined when there is no room for it. */
  append(event: AdmittedEvent, caller?: string): Batch | undefined {
    const batch = this.#open;
    if (batch.needsChunk && !this.#extend(batch)) {
      return undefined;
    }
    const bytes = batch.append(event);
    if (caller !== undefined) {
      batch.shares.set(caller, (batch.shares.get(caller) ?? 0) + bytes);
      this.#shares.add(caller, bytes);
    }
    this.#rows += 1;
    if (batch.rows >= this.#flushMaxRows) {
      this.seal();
    }
    return batch;
  }

  /** Closes the open batch, if it has rows, and puts it behind the others. */
  seal(): void {
    if (this.#open.rows > 0) {
      this.#open.seal();
      this.#sealed.push(this.#open);
      this.#open = new Batch();
    }
  }

  /** Hands out the oldest sealed batch. It still counts until it is released. */
  take(): Batch | undefined {
    const batch = this.#sealed.shift();
    if (batch !== undefined) {
      this.#taken.add(batch);
    }
    return batch;
  }

  /** Returns a batch that was taken and could not be written: it is the oldest again. */
  putBack(batch: Batch): void {
    this.#taken.delete(batch);
    this.#sealed.unshift(batch);
  }

  /** Forgets a batch whose rows have all ended, and reuses its memory. */
  release(batch: Batch): void {
    this.#taken.delete(batch);
    this.#rows -= batch.rows;
    this.#shares.release(batch.shares);
    for (const chunk of batch.takeChunks()) {
      this.#chunksInUse -= 1;
      if (this.#spare.length < SPARE_CHUNKS_MAX) {
        this.#spare.push(chunk);
      }
    }
  }

  /** Most chunks that the next `rows` rows need, beside those in use, if the open batch has `openRows`. */
  #chunksForMany(rows: number, openRows = this.#open.rows): number {
    const first = Math.min(rows, this.#flushMaxRows - openRows);
    const fullBatches = Math.floor((rows - first) / this.#flushMaxRows);
    return (
      this.#chunksFor(first) +
      fullBatches * this.#chunksFor(this.#flushMaxRows) +
      this.#chunksFor(rows - first - fullBatches * this.#flushMaxRows)
    );
  }

  /** Most chunks that this many rows of one batch need. */
  #chunksFor(rows: number): number {
    return Math.ceil(rows / Math.floor(this.#chunkBytes / TUPLE_MAX_BYTES));
  }

  #extend(batch: Batch): boolean {
    if (this.#chunksInUse >= this.#chunksMax) {
      return false;
    }
    this.#chunksInUse += 1;
    batch.openedAt ??= this.#clock.elapsed();
    batch.extend(this.#spare.pop() ?? Buffer.allocUnsafeSlow(this.#chunkBytes));
    return true;
  }
}
