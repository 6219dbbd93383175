/** Connections that have not shown yet what they want: bounds how long they may take; it never reads from one. */
import type { Socket } from "node:net";
import type { Clock } from "../util/clock.js";

export interface WaitingConnectionsDeps {
  readonly clock: Clock;
  /** How long a connection may stay, in milliseconds. */
  readonly timeoutMs: number;
}

/** A room for connections. One leaves it by name, or with its end. */
export class WaitingConnections {
  readonly #clock: Clock;
  readonly #timeoutMs: number;
  /** When each connection came, by {@link Clock.elapsed}; the oldest is the first. */
  readonly #since = new Map<Socket, number>();
  #closed = false;

  constructor(deps: WaitingConnectionsDeps) {
    this.#clock = deps.clock;
    this.#timeoutMs = deps.timeoutMs;
  }

  /** How many wait. */
  get size(): number {
    return this.#since.size;
  }

  /** Takes a connection. False: the room is closed, and the connection was dropped. */
  add(socket: Socket): boolean {
    // Stays for the life of the socket: a reset must be nobody's unhandled error, in any state.
    socket.on("error", ignore);
    if (this.#closed) {
      socket.destroy();
      return false;
    }
    this.#since.set(socket, this.#clock.elapsed());
    socket.once("close", () => this.delete(socket));
    return true;
  }

  delete(socket: Socket): void {
    this.#since.delete(socket);
  }

  /** Drops the connections whose time is over. */
  sweep(): void {
    const oldest = this.#clock.elapsed() - this.#timeoutMs;
    for (const [socket, since] of this.#since) {
      if (since > oldest) {
        return;
      }
      socket.destroy();
    }
  }

  /** Drops all that wait and all that come later: none of them has asked anything. */
  close(): void {
    this.#closed = true;
    for (const socket of this.#since.keys()) {
      socket.destroy();
    }
  }
}

function ignore(): void {}
