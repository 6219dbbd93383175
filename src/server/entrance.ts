/**
 * Where a new connection is until its protocol is known: by its first bytes, or by its TLS handshake. Bounds how long
 * that may take, and hands the socket on.
 */
import type { Socket } from "node:net";
import { createServer, type SecureContextOptions, type Server, type TLSSocket } from "node:tls";
import type { Logger } from "pino";
import type { Clock } from "../util/clock.js";
import type { TlsCredentials } from "./tls-certificates.js";

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

/** Where the credentials come from. */
export interface TlsCredentialsSource {
  readonly current: TlsCredentials;
  /** Calls `listener` with each that replace them. */
  onChange(listener: (credentials: TlsCredentials) => void): void;
}

/** What {@link TlsAcceptor} needs. */
export interface TlsAcceptorDeps extends WaitingConnectionsDeps {
  readonly credentials: TlsCredentialsSource;
  readonly logger: Logger;
  readonly onHttp1: (socket: Socket) => void;
  readonly onHttp2: (socket: Socket) => void;
}

const HTTP2 = "h2";
const HTTP1 = "http/1.1";
const MIN_VERSION: NonNullable<SecureContextOptions["minVersion"]> = "TLSv1.2";

/** Holds each new connection until its handshake is done, has failed, or its time is over. */
export class TlsAcceptor {
  readonly #deps: TlsAcceptorDeps;
  readonly #waiting: WaitingConnections;
  /** The plain connections that wait, by {@link endsOf}: a TLS connection does not say which is under it. */
  readonly #handshakes = new Map<string, Socket>();
  /** Never listens: it gets its connections by {@link TlsAcceptor.accept}. */
  readonly #server: Server;

  constructor(deps: TlsAcceptorDeps) {
    this.#deps = deps;
    this.#waiting = new WaitingConnections(deps);
    const { credentials, logger } = deps;
    const isMutual = credentials.current.ca !== undefined;
    this.#server = createServer({
      ...toContext(credentials.current),
      ALPNProtocols: [HTTP2, HTTP1],
      // As for connections in clear text: a client that has ended its half still reads its answers.
      allowHalfOpen: true,
      requestCert: isMutual,
      rejectUnauthorized: isMutual,
    });
    this.#server.on("secureConnection", (socket) => this.#handOn(socket));
    this.#server.on("tlsClientError", (err, socket) => {
      logger.debug({ err, peer: socket.remoteAddress }, "a TLS handshake failed");
      socket.destroy();
    });
    // A new context has new ticket keys, too: nobody resumes a session that an earlier CA vouched for.
    credentials.onChange((changed) => this.#server.setSecureContext(toContext(changed)));
  }

  /** Takes a connection that nobody has read from. */
  accept(socket: Socket): void {
    if (!this.#waiting.add(socket)) {
      return;
    }
    if (socket.remoteAddress === undefined) {
      // It was reset before we looked, and has no ends any more.
      socket.destroy();
      return;
    }
    const ends = endsOf(socket);
    this.#handshakes.set(ends, socket);
    socket.once("close", () => {
      // By now another connection may have the same ends.
      if (this.#handshakes.get(ends) === socket) {
        this.#handshakes.delete(ends);
      }
    });
    this.#server.emit("connection", socket);
  }

  /** Drops the connections whose time is over. */
  sweep(): void {
    this.#waiting.sweep();
  }

  /** Drops all that wait and all that come later: none of them has asked anything. */
  close(): void {
    this.#waiting.close();
  }

  #handOn(socket: TLSSocket): void {
    // Stays for the life of the socket, as on the connection under it.
    socket.on("error", ignore);
    const ends = endsOf(socket);
    const connection = this.#handshakes.get(ends);
    if (connection !== undefined) {
      this.#handshakes.delete(ends);
      this.#waiting.delete(connection);
    }
    if (socket.alpnProtocol === HTTP2) {
      this.#deps.onHttp2(socket);
    } else {
      this.#deps.onHttp1(socket);
    }
  }
}

/** What tells a connection from all others that are open. */
function endsOf({ remoteAddress, remotePort, localAddress }: Socket): string {
  return `${remoteAddress} ${remotePort} ${localAddress}`;
}

function toContext({ cert, key, ca }: TlsCredentials): SecureContextOptions {
  return { cert, key, minVersion: MIN_VERSION, ...(ca && { ca }) };
}

function ignore(): void {}
