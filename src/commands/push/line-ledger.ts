/** Which lines have been read, and which of them are settled; it never pushes. */
import type { StatsEvent } from "../../../client/src/event.js";

/** A line is settled when its event was acknowledged or rejected, or when it is no event. */
export class LineLedger {
  /** By the event, in the order of the lines. */
  readonly #pending = new Map<StatsEvent, number>();
  #last = 0;
  /** Lines that are no event. */
  bad = 0;

  /** The line was read; its event is on its way. */
  read(line: number, event: StatsEvent): void {
    this.#last = line;
    this.#pending.set(event, line);
  }

  /** The line was read, and is no event. */
  readBad(line: number): void {
    this.#last = line;
    this.bad += 1;
  }

  /** Returns the line of an event that has its answer. */
  settle(event: StatsEvent): number | undefined {
    const line = this.#pending.get(event);
    this.#pending.delete(event);
    return line;
  }

  /** The last line read. */
  get last(): number {
    return this.#last;
  }

  /** Up to this line all are settled, this one included; 0: none. */
  get settledThrough(): number {
    const [oldest] = this.#pending.values();
    return oldest === undefined ? this.#last : oldest - 1;
  }
}
