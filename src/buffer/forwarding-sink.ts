/** The sink of a process that has no database: batches end in a buffer from which others write them. */

import type { EncodedBatch } from "../event/tuple-codec.js";
import { type Sink, SinkError, type WriteOutcome } from "../sink/sink.js";
import type { FaultClass } from "../util/fault-class.js";
import type { BatchBuffer } from "./buffer.js";

/** A {@link Sink} that stores. What it does not store is worth any number of tries. */
export class ForwardingSink implements Sink {
  readonly #buffer: Pick<BatchBuffer, "store">;

  constructor(buffer: Pick<BatchBuffer, "store">) {
    this.#buffer = buffer;
  }

  async write(batch: EncodedBatch): Promise<WriteOutcome> {
    try {
      await this.#buffer.store(batch);
      return { inserted: 0, duplicates: 0, dead: 0, forwarded: batch.rows };
    } catch (error) {
      throw new SinkError(faultClassOf(error), undefined, error);
    }
  }
}

/** A stream that a person must repair is told as a schema would be: there is no use in trying often. */
function faultClassOf(error: unknown): FaultClass {
  const { cause } = error as { readonly cause?: { readonly faultClass?: unknown } };
  return cause?.faultClass === "schema" ? "schema" : "transient";
}
