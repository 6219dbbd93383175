/** Counts the events that were refused, by reason, for those who watch the service; it refuses none. */
import { InvalidEventError } from "./admission.js";
import { IntakeClosedError, QueueFullError } from "./flusher.js";

/**
 * Why an event was refused:
 * - `invalid`: it, or the request around it, broke a rule
 * - `queue_full`: there was no room
 * - `shutting_down`: the service takes nothing more in
 * - `all_or_nothing`: nothing was wrong with it, but with others of a batch that was to be taken whole or not at all
 */
export type RejectionReason = "invalid" | "queue_full" | "shutting_down" | "all_or_nothing";

/** Events that were refused since the process started. With those accepted they are all that came to a handler. */
export class Rejections {
  readonly #events: Record<RejectionReason, number> = {
    invalid: 0,
    queue_full: 0,
    shutting_down: 0,
    all_or_nothing: 0,
  };

  add(reason: RejectionReason, events: number): void {
    this.#events[reason] += events;
  }

  /** Books events that were refused by throwing; without effect when `error` is none of the domain's. */
  addThrown(error: unknown, events: number): void {
    if (error instanceof InvalidEventError) {
      this.add("invalid", events);
    } else if (error instanceof QueueFullError) {
      this.add("queue_full", events);
    } else if (error instanceof IntakeClosedError) {
      this.add("shutting_down", events);
    }
  }

  /** By reason; all reasons are there. */
  read(): Readonly<Record<RejectionReason, number>> {
    return { ...this.#events };
  }
}
