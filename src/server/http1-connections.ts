/**
 * The HTTP/1.1 connections of a server: knows the last answer of each and closes them when the server drains; it
 * never reads or writes a message.
 */
import type { ServerResponse } from "node:http";
import type { Socket } from "node:net";

/** Tracks HTTP/1.1 connections at the cost of one map entry each, rewritten by each request. */
export class Http1Connections {
  /** The newest answer of each connection; undefined while its first request is on its way. */
  readonly #latest = new Map<Socket, ServerResponse | undefined>();
  #draining = false;

  /** Takes a connection that speaks HTTP/1.1. */
  add(socket: Socket): void {
    this.#latest.set(socket, undefined);
    socket.once("close", () => this.#latest.delete(socket));
  }

  /** Notes that a request has come, to be answered by `res`. Call it before anything is written. */
  begin(socket: Socket, res: ServerResponse): void {
    if (this.#draining) {
      this.#makeLast(socket, res);
    }
    this.#latest.set(socket, res);
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
   * Closes the connections that wait for a next request, and makes each other connection end with its current
   * answer: by "connection: close" where the header can still say so.
   *
   * A first request that is still on its way is waited for, within the headers time-out, and answered.
   */
  drain(): void {
    this.#draining = true;
    for (const [socket, res] of this.#latest) {
      if (res === undefined) {
        continue;
      }
      if (res.writableFinished || res.destroyed) {
        socket.destroySoon();
      } else if (!res.headersSent) {
        res.shouldKeepAlive = false;
      } else {
        res.once("close", () => {
          if (this.#latest.get(socket) === res) {
            socket.destroySoon();
          }
        });
      }
    }
  }

  /** Cuts all that is left. */
  destroyAll(): void {
    for (const socket of this.#latest.keys()) {
      socket.destroy();
    }
  }
}
