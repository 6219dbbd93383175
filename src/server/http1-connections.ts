/**
 * The HTTP/1.1 connections of a server: knows the last answer of each and closes them when the server drains; it
 * never reads or writes a message.
 */
import type { ServerResponse } from "node:http";
import type { Socket } from "node:net";
import type { Clock } from "../util/clock.js";

/** What {@link Http1Connections} needs. */
export interface Http1ConnectionsDeps {
  readonly clock: Clock;
  /** How long an idle connection is kept by drain(), in milliseconds. */
  readonly lateRequestMs: number;
}

/** Tracks HTTP/1.1 connections at the cost of one map entry each, rewritten by each request. */
export class Http1Connections {
  /** The newest answer of each connection; undefined while its first request is on its way. */
  readonly #latest = new Map<Socket, ServerResponse | undefined>();
  readonly #deps: Http1ConnectionsDeps;
  #draining = false;
  #cancelLateRequests: () => void = () => {};

  constructor(deps: Http1ConnectionsDeps) {
    this.#deps = deps;
  }

  /** Open connections. */
  get size(): number {
    return this.#latest.size;
  }

  /** Takes a connection that speaks HTTP/1.1. */
  add(socket: Socket): void {
    this.#latest.set(socket, undefined);
    socket.once("close", () => this.#forget(socket));
  }

  /** Notes that a request has come, to be answered by `res`. Call it before anything is written. */
  begin(socket: Socket, res: ServerResponse): void {
    if (this.#draining) {
      this.#makeLast(socket, res);
    }
    if (res.socket === null) {
      this.#closeWith(this.#latest.get(socket), socket, res);
    }
    this.#latest.set(socket, res);
  }

  /**
   * Lets an answer that waits for the one before it close with the connection. Older versions of Node only tell the one
   * whose turn it is, and those behind it, and all that waits for their end, would never hear of it.
   */
  #closeWith(previous: ServerResponse | undefined, socket: Socket, res: ServerResponse): void {
    previous?.once("close", () => {
      if (socket.destroyed && res.socket === null) {
        res.destroy();
        // Newer ones have told it by then.
        process.nextTick(() => {
          if (!res.closed) {
            res.emit("close");
          }
        });
      }
    });
  }

  #forget(socket: Socket): void {
    this.#latest.delete(socket);
    if (this.#draining && this.#latest.size === 0) {
      this.#cancelLateRequests();
    }
  }

  #makeLast(socket: Socket, res: ServerResponse): void {
    const previous = this.#latest.get(socket);
    if (previous !== undefined && !previous.headersSent) {
      // Pipelined: to end the connection with the earlier answer would cut off this one.
      previous.shouldKeepAlive = true;
    }
    res.shouldKeepAlive = false;
  }

  /**
   * Makes each connection end with its current answer: by "connection: close" where the header can still say so.
   * One that waits for its next request is closed after `lateRequestMs`, or with the answer to a request that was
   * on its way already.
   *
   * A first request that is still on its way is waited for, within the headers time-out, and answered.
   */
  drain(): void {
    this.#draining = true;
    for (const [socket, res] of this.#latest) {
      if (res === undefined || isAnswered(res)) {
        continue;
      }
      if (!res.headersSent) {
        res.shouldKeepAlive = false;
      } else {
        res.once("close", () => {
          if (this.#latest.get(socket) === res) {
            socket.destroySoon();
          }
        });
      }
    }
    if (this.#latest.size > 0) {
      this.#cancelLateRequests = this.#deps.clock.schedule(this.#deps.lateRequestMs, () => this.#closeIdle());
    }
  }

  /** Cuts all that is left. */
  destroyAll(): void {
    this.#cancelLateRequests();
    for (const socket of this.#latest.keys()) {
      socket.destroy();
    }
  }

  #closeIdle(): void {
    for (const [socket, res] of this.#latest) {
      if (res !== undefined && isAnswered(res)) {
        socket.destroySoon();
      }
    }
  }
}

function isAnswered(res: ServerResponse): boolean {
  return res.writableFinished || res.destroyed;
}
