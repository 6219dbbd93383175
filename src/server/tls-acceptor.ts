/** Makes TLS connections of plain ones, for a server that listens itself; it never reads what is said over them. */
import type { Socket } from "node:net";
import { createServer, type SecureContextOptions, type Server, type TLSSocket } from "node:tls";
import type { Logger } from "pino";
import type { TlsCredentials } from "./tls-certificates.js";
import { WaitingConnections, type WaitingConnectionsDeps } from "./waiting-connections.js";

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
