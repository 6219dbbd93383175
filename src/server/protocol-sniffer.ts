/**
 * Connections whose protocol is not known yet: reads their first bytes, puts them back and hands the socket on;
 * it never answers a client.
 */
import type { Socket } from "node:net";
import type { Clock } from "../clock.js";

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
export interface ProtocolSnifferDeps {
  readonly clock: Clock;
  /** How long a connection may leave its protocol open, in milliseconds. */
  readonly timeoutMs: number;
  readonly onHttp1: (socket: Socket) => void;
  readonly onHttp2: (socket: Socket) => void;
}

/** Holds each new connection until its protocol is known, its client is gone or its time is over. */
export class ProtocolSniffer {
  readonly #clock: Clock;
  readonly #timeoutMs: number;
  readonly #onHttp1: (socket: Socket) => void;
  readonly #onHttp2: (socket: Socket) => void;
  /** When each connection came, by {@link Clock.elapsed}. */
  readonly #waiting = new Map<Socket, number>();
  #closed = false;

  constructor(deps: ProtocolSnifferDeps) {
    this.#clock = deps.clock;
    this.#timeoutMs = deps.timeoutMs;
    this.#onHttp1 = deps.onHttp1;
    this.#onHttp2 = deps.onHttp2;
  }

  /** Takes a connection that nobody has read from. */
  accept(socket: Socket): void {
    // Stays for the life of the socket: a reset must be nobody's unhandled error, in any state.
    socket.on("error", ignore);
    if (this.#closed) {
      socket.destroy();
      return;
    }
    this.#waiting.set(socket, this.#clock.elapsed());
    let head: Buffer | undefined;
    const settle = () => {
      this.#waiting.delete(socket);
      socket.off("readable", onReadable).off("end", onEnd).off("close", settle);
    };
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
      settle();
      // One chunk, so that the HTTP/2 session, which takes over on the next tick, gets it in one piece.
      socket.unshift(head);
      if (protocol === "http2") {
        this.#onHttp2(socket);
      } else {
        this.#onHttp1(socket);
      }
    };
    const onEnd = () => socket.destroy();
    socket.on("readable", onReadable).on("end", onEnd).on("close", settle);
  }

  /** Drops the connections whose time is over. */
  sweep(): void {
    const oldest = this.#clock.elapsed() - this.#timeoutMs;
    for (const [socket, since] of this.#waiting) {
      if (since > oldest) {
        return;
      }
      socket.destroy();
    }
  }

  /** Drops all that wait and all that come later: none of them has asked anything. */
  close(): void {
    this.#closed = true;
    for (const socket of this.#waiting.keys()) {
      socket.destroy();
    }
  }
}

function ignore(): void {}
