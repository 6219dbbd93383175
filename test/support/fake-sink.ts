/** A sink and a spool that do what a test tells them, and remember what reached them; they write nothing. */

import type { EncodedBatch } from "../../src/event/tuple-codec.js";
import type { BatchStore } from "../../src/ingest/delivery.js";
import { type Sink, SinkError, type WriteOptions, type WriteOutcome } from "../../src/sink/sink.js";
import type { FaultClass } from "../../src/util/fault-class.js";
import { decodeTuples, type IncomingRow } from "./decoded.js";

/** A write that has not been answered yet, or the record of one that has. */
export interface SinkWrite {
  /** A copy of the bytes, made when the write came. */
  readonly bytes: Buffer;
  readonly rows: readonly IncomingRow[];
  readonly options: WriteOptions;
  /** Puts the rows into the table, those aside that are there already, and answers nothing yet. */
  readonly insert: () => WriteOutcome;
  /** Inserts, and says so. */
  readonly succeed: () => void;
  readonly fail: (error: unknown) => void;
}

/** An answer to every write, or `hold`: the test answers each one. */
type SinkMode = "accept" | "hold" | FaultClass | ((write: SinkWrite) => Promise<WriteOutcome>);

/** A sink error of a class, as PostgresSink would throw it. */
export function sinkError(faultClass: FaultClass): SinkError {
  const sqlstate = faultClass === "schema" ? "42P01" : "57P03";
  return new SinkError(faultClass, sqlstate, new Error(`a ${faultClass} fault`));
}

/** A table in memory, with the primary key of the real one. */
export class FakeSink implements Sink {
  mode: SinkMode;
  /** Every write, in the order in which they came. */
  readonly writes: SinkWrite[] = [];
  /** Whether a write that is held ends when it is aborted, as it should. */
  obeysAbort = true;
  readonly #ids = new Set<string>();
  /** The rows that were inserted, in their order; never one twice. */
  readonly inserted: IncomingRow[] = [];
  /** Writes that have not been answered. */
  inFlight = 0;
  maxInFlight = 0;

  constructor(mode: SinkMode = "accept") {
    this.mode = mode;
  }

  /** The write that came last. */
  get last(): SinkWrite {
    const write = this.writes.at(-1);
    if (write === undefined) {
      throw new Error("nothing was written to the sink");
    }
    return write;
  }

  write(batch: EncodedBatch, options: WriteOptions): Promise<WriteOutcome> {
    const bytes = Buffer.concat(batch.chunks);
    const rows = decodeTuples(bytes);
    this.inFlight += 1;
    this.maxInFlight = Math.max(this.maxInFlight, this.inFlight);
    let onAbort = () => {};
    const answer = new Promise<WriteOutcome>((resolve, fail) => {
      onAbort = () => fail(options.signal.reason);
      const insert = () => this.#insert(rows);
      const write = { bytes, rows, options, insert, succeed: () => resolve(insert()), fail };
      this.writes.push(write);
      if (this.obeysAbort) {
        options.signal.addEventListener("abort", onAbort);
      }
      this.#answer(write, resolve);
    });
    return answer.finally(() => {
      options.signal.removeEventListener("abort", onAbort);
      this.inFlight -= 1;
    });
  }

  #answer(write: SinkWrite, resolve: (outcome: Promise<WriteOutcome>) => void): void {
    if (typeof this.mode === "function") {
      resolve(this.mode(write));
    } else if (this.mode === "accept") {
      write.succeed();
    } else if (this.mode !== "hold") {
      write.fail(sinkError(this.mode));
    }
  }

  #insert(rows: readonly IncomingRow[]): WriteOutcome {
    const fresh = rows.filter(({ id }) => !this.#ids.has(id));
    for (const row of fresh) {
      this.#ids.add(row.id);
      this.inserted.push(row);
    }
    return { inserted: fresh.length, duplicates: rows.length - fresh.length, dead: 0 };
  }
}

/** A spool in memory. */
export class FakeSpool implements BatchStore {
  freeBytes = Number.POSITIVE_INFINITY;
  /** Rows in each file, in order. */
  readonly files: number[] = [];
  isBroken = false;
  /** Batches that were given to it while it hung. */
  readonly held: EncodedBatch[] = [];
  #answers: Promise<void> | undefined;
  #answer = () => {};
  /** The rows that were stored, in their order. */
  readonly stored: IncomingRow[] = [];

  #failures = 0;

  /** Makes the next batch not fit. */
  failNext(): void {
    this.#failures = 1;
  }

  /** From here on batches are neither taken nor refused, until answer(). */
  hang(): void {
    this.#answers = new Promise((resolve) => {
      this.#answer = resolve;
    });
  }

  answer(): void {
    this.#answers = undefined;
    this.#answer();
  }

  async store(batch: EncodedBatch): Promise<void> {
    if (this.#answers !== undefined) {
      this.held.push(batch);
      await this.#answers;
    }
    if (this.isBroken || this.#failures-- > 0) {
      throw Object.assign(new Error("ENOSPC: no space left on device, write"), { code: "ENOSPC" });
    }
    this.files.push(batch.rows);
    this.stored.push(...decodeTuples(Buffer.concat(batch.chunks)));
  }
}
