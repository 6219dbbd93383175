/** Bounds the calls of a kind that are open at a time, and shares them fairly; it knows nothing of a call itself. */
import { FairShare } from "../util/fair-share.js";

/** A call on the stock lane takes some 50 KB until it is over (Node 20, connect 2.1), and may last for ever. */
export const DEFAULT_MAX_STOCK_CALLS = 4096;

/** Slots for calls. Each caller that has one may have more only while it has fewer than are free. */
export class CallSlots {
  readonly #count: number;
  readonly #shares = new FairShare();
  #taken = 0;

  constructor(count: number) {
    this.#count = count;
  }

  /** Takes a slot; gives what frees it again, once; undefined when there is none for this caller. */
  take(caller: string): (() => void) | undefined {
    const free = this.#count - this.#taken;
    if (free <= 0 || !this.#shares.allows(caller, free)) {
      return undefined;
    }
    this.#taken += 1;
    this.#shares.add(caller, 1);
    return () => {
      this.#taken -= 1;
      this.#shares.release([[caller, 1]]);
    };
  }
}
