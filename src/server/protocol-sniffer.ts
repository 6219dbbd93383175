/**
 * Connections whose protocol is not known yet: reads their first bytes, puts them back and hands the socket on;
 * it never answers a client.
 */
import type { Socket } from "node:net";
import { WaitingConnections, type WaitingConnectionsDeps } from "./waiting-connections.js";

/** A protocol, or that more bytes are needed to tell. */
export type SniffedProtocol = "http1" | "http2" | "undecided";

// RFC 9113, section 3.4: a client that knows HTTP/2 beforehand opens with "PRI * HTTP/2.0…". No HTTP/1.1 method
// begins so; the rest of the preface is for the HTTP/2 server to check.
const HTTP2_MARK = Buffer.from("PRI", "latin1");

/** Tells the protocol from a connection's first bytes. All that is not HTTP/2, HTTP/1.1 gets to refuse. */
export function sniffProtocol(head: Uint8Array): SniffedProtocol {
  const length = Math.min(head.length, HTTP2_MARK.length);
  for (let i = 0; i < length; i++) {
    if (head[i] !== HTTP2_MARK[i]) {
      return "http1";
    }
  }
  return length === HTTP2_MARK.length ? "http2" : "undecided";
}

/** What {@link ProtocolSniffer} needs. */
export interface ProtocolSnifferDeps extends WaitingConnectionsDeps {
  readonly onHttp1: (socket: Socket) => void;
  readonly onHttp2: (socket: Socket) => void;
}

/** Holds each new connection until its protocol is known, its client is gone or its time is over. */
export class ProtocolSniffer {
  readonly #onHttp1: (socket: Socket) => void;
  readonly #onHttp2: (socket: Socket) => void;
  readonly #waiting: WaitingConnections;

  constructor(deps: ProtocolSnifferDeps) {
    this.#waiting = new WaitingConnections(deps);
    this.#onHttp1 = deps.onHttp1;
    this.#onHttp2 = deps.onHttp2;
  }

  /** Takes a connection that nobody has read from. */
  accept(socket: Socket): void {
    if (!this.#waiting.add(socket)) {
      return;
    }
    let head: Buffer | undefined;
    const onReadable = () => {
      const chunk = socket.read() as Buffer | null;
      if (chunk === null || socket.destroyed) {
        return;
      }
      head = head === undefined ? chunk : Buffer.concat([head, chunk]);
      const protocol = sniffProtocol(head);
      if (protocol === "undecided") {
        return;
      }
      this.#waiting.delete(socket);
      socket.off("readable", onReadable).off("end", onEnd);
      // One chunk, so that the HTTP/2 session, which takes over on the next tick, gets it in one piece.
      socket.unshift(head);
      if (protocol === "http2") {
        this.#onHttp2(socket);
      } else {
        this.#onHttp1(socket);
      }
    };
    const onEnd = () => socket.destroy();
    socket.on("readable", onReadable).on("end", onEnd);
  }

  /** Drops the connections whose time is over. */
  sweep(): void {
    this.#waiting.sweep();
  }

  /** Drops all that wait and all that come later: none of them has asked anything. */
  close(): void {
    this.#waiting.close();
  }
}
