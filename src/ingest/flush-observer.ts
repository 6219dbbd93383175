/** What those who watch the service may hear of its flushes: an interface, no behaviour. */

import type { WriteOutcome } from "../sink/sink.js";
import type { FaultClass } from "../util/fault-class.js";

/** Hears how each try of a batch at the sink ends. It must neither throw nor take long. */
export interface FlushObserver {
  /** All rows of the batch have ended, as `outcome` says. */
  written(
    batch: { readonly rows: number; readonly bytes: number },
    outcome: WriteOutcome,
    durationMs: number,
  ): void;
  /** The batch is kept and will be tried again. */
  failed(faultClass: FaultClass, durationMs: number): void;
}

/** Nobody watches. */
export const UNOBSERVED: FlushObserver = { written: () => undefined, failed: () => undefined };
