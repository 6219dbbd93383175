/** An RPC port for tests, and a client that sees and sends the very bytes; it never waits by time. */
import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { pino } from "pino";
import type { RpcServerLimits } from "../../src/server/limits.js";
import type { RpcFastLane, RpcHandler } from "../../src/server/rpc-handler.js";
import { RpcServer } from "../../src/server/rpc-server.js";

/** A logger that says nothing. */
export const silent = pino({ level: "silent" });

/** A server on a port that the system chose. */
export interface RpcPort {
  readonly server: RpcServer;
  readonly port: number;
  readonly url: string;
}

/** Starts a server; close it at the end of the test. */
export async function openRpcPort(
  handler: RpcHandler,
  limits: Partial<RpcServerLimits> = {},
  fastLane?: RpcFastLane,
): Promise<RpcPort> {
  const server = new RpcServer({
    host: "127.0.0.1",
    port: 0,
    handler,
    logger: silent,
    limits,
    ...(fastLane && { fastLane }),
  });
  const { port } = await server.listen();
  return { server, port, url: `http://127.0.0.1:${port}` };
}

/** Something to wait for. */
export interface Gate {
  readonly opened: Promise<void>;
  readonly open: () => void;
}

/** Makes a gate that is shut. */
export function makeGate(): Gate {
  let open: () => void = () => {};
  const opened = new Promise<void>((resolve) => {
    open = resolve;
  });
  return { opened, open };
}

/** One TCP connection and all that came over it. */
export class RawConnection {
  readonly socket: Socket;
  /** What the server sent so far, a character for each byte. */
  received = "";
  /** Resolves when the connection is closed, by whomever. */
  readonly closed: Promise<void>;

  private constructor(socket: Socket) {
    this.socket = socket;
    socket.on("error", () => {});
    socket.on("data", (chunk) => {
      this.received += chunk.toString("latin1");
    });
    this.closed = new Promise((resolve) => {
      socket.once("close", () => resolve());
    });
  }

  /** Connects to a port of this machine. */
  static async open(port: number): Promise<RawConnection> {
    const socket = connect({ port, host: "127.0.0.1", noDelay: true });
    await once(socket, "connect");
    return new RawConnection(socket);
  }

  /** Sends bytes; resolves when the system has them. */
  async send(bytes: string): Promise<void> {
    await new Promise<void>((resolve) => {
      this.socket.write(bytes, "latin1", () => resolve());
    });
  }

  /** Resolves once the server has sent `text`; fails if it closes before. */
  async receives(text: string): Promise<void> {
    while (!this.received.includes(text)) {
      if (this.socket.closed) {
        throw new Error(`closed without ${JSON.stringify(text)} after ${JSON.stringify(this.received)}`);
      }
      await Promise.race([once(this.socket, "data"), this.closed]);
    }
  }
}
