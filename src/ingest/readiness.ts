/**
 * Whether events are welcome: there is room for them, and the database's schema does not need a person. Tells the
 * service's health from start to close(); it never refuses an event, the queue does.
 */
import type { Logger } from "pino";
import type { BatchBuffer } from "../buffer/buffer.js";
import type { Clock } from "../util/clock.js";

/** A bounded place for events. */
type Room = Pick<BatchBuffer, "bytes" | "maxBytes">;

/** What the sink last had to say. */
export interface SinkFaults {
  /** Undefined when the last batch was written. */
  sinkFault(): { readonly faultClass: string; readonly message: string } | undefined;
}

/** Where readiness is told. */
export interface ReadinessListener {
  setServing(): void;
  setNotServing(reason: string): void;
}

export interface ReadinessDeps {
  readonly queue: Room;
  /** undefined: there is only memory. */
  readonly buffer: (Room & Pick<BatchBuffer, "isWritable">) | undefined;
  readonly flusher: SinkFaults;
  /** undefined: there is no buffer. Where nothing new comes it alone finds out what the schema lacks. */
  readonly replay: SinkFaults | undefined;
  readonly health: ReadinessListener;
  readonly clock: Clock;
  readonly logger: Logger;
}

const LOOK_MS = 1_000;
/** Shares of the room in use: not ready from the first, ready again from the second, so that it does not flap. */
const FULL_FROM = 0.9;
const ROOM_FROM = 0.7;

/** Looks every second from start() to close(). An outage that passes by itself is no reason: there is room for it. */
export class Readiness {
  readonly #deps: ReadinessDeps;
  #state: "new" | "started" | "closed" = "new";
  #isFull = false;
  /** Why events are not welcome, as told last. */
  #reason: string | undefined;
  #cancelLook: (() => void) | undefined;

  constructor(deps: ReadinessDeps) {
    this.#deps = deps;
  }

  /** Says that the service is ready, or why not, and says so again whenever that changes. */
  start(): void {
    if (this.#state === "new") {
      this.#state = "started";
      this.#deps.health.setServing();
      this.#look();
    }
  }

  /** Says nothing from here on. */
  close(): void {
    this.#state = "closed";
    this.#cancelLook?.();
  }

  /** Share of the room for events in use, from 0 to 1: memory and, if it can be written, the buffer. */
  fullness(): number {
    const { queue, buffer } = this.#deps;
    if (buffer === undefined || !buffer.isWritable) {
      return queue.bytes / queue.maxBytes;
    }
    return (queue.bytes + Math.min(buffer.bytes, buffer.maxBytes)) / (queue.maxBytes + buffer.maxBytes);
  }

  #look(): void {
    const { health, clock, logger } = this.#deps;
    const reason = this.#reasonNow();
    if (reason !== this.#reason) {
      this.#reason = reason;
      if (reason === undefined) {
        health.setServing();
        logger.info("ready again");
      } else {
        health.setNotServing(reason);
        logger.error({ reason }, "not ready");
      }
    }
    this.#cancelLook = clock.schedule(LOOK_MS, () => this.#look());
  }

  #reasonNow(): string | undefined {
    const fullness = this.fullness();
    this.#isFull = this.#isFull ? fullness > ROOM_FROM : fullness >= FULL_FROM;
    if (this.#isFull) {
      return "the room for events is nearly used up";
    }
    const { flusher, replay } = this.#deps;
    const fault = [flusher.sinkFault(), replay?.sinkFault()].find((each) => each?.faultClass === "schema");
    return fault && `the database needs a repair: ${fault.message}`;
  }
}
