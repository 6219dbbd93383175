/**
 * The HTTP/1.1 connections of a server: knows the last answer of each, refuses what is no request behind the answers
 * before it, and closes connections when the server drains.
 */
import { type ServerResponse, STATUS_CODES } from "node:http";
import type { Socket } from "node:net";
import type { Clock } from "../util/clock.js";
import { connectionEnd } from "./limits.js";

/** What {@link Http1Connections} needs. */
export interface Http1ConnectionsDeps {
  readonly clock: Clock;
  /** How long an idle connection is kept by drain(), in milliseconds. */
  readonly lateRequestMs: number;
  /** How long a client may take to read the refusal of what was no request, in milliseconds. */
  readonly lingerTimeoutMs: number;
  /** See RpcServerLimits. */
  readonly maxConnectionAgeMs: number;
  /** Gives numbers in [0, 1). */
  readonly random: () => number;
}

/** What Node's parser says of what it cannot read, where the status is not 400. */
const STATUS_OF_FAULT: Readonly<Record<string, number>> = {
  HPE_HEADER_OVERFLOW: 431,
  HPE_CHUNK_EXTENSIONS_OVERFLOW: 413,
  ERR_HTTP_REQUEST_TIMEOUT: 408,
};
const HTTP_BAD_REQUEST = 400;

/** Tracks HTTP/1.1 connections at the cost of one map entry each, rewritten by each request. */
export class Http1Connections {
  /** The newest answer of each connection; undefined while its first request is on its way. */
  readonly #latest = new Map<Socket, ServerResponse | undefined>();
  /** When each connection is too old to be used, by {@link Clock.elapsed}. */
  readonly #endsMs = new Map<Socket, number>();
  /** Those that are: each ends with its next answer, which says so. One that is idle ends by itself. */
  readonly #old = new Set<Socket>();
  /** The answer that another one waits for: of pipelined requests. */
  readonly #before = new WeakMap<ServerResponse, ServerResponse>();
  /** Connections on which what came was no request: nothing more is taken. */
  readonly #refused = new WeakSet<Socket>();
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
    this.#endsMs.set(socket, connectionEnd(this.#deps.clock.elapsed(), this.#deps, this.#deps.random));
    socket.once("close", () => this.#forget(socket));
  }

  /**
   * Notes that a request has come, to be answered by `res`. Call it before anything is written. False: the answer before
   * it closes the connection, so it must not be taken (RFC 9112, section 9.6).
   */
  begin(socket: Socket, res: ServerResponse): boolean {
    const previous = this.#latest.get(socket);
    if (previous !== undefined && isClosing(previous)) {
      return false;
    }
    if (this.#draining || this.#old.has(socket)) {
      this.#makeLast(previous, res);
    }
    if (previous !== undefined && res.socket === null) {
      this.#before.set(res, previous);
      this.#closeWith(previous, socket, res);
    }
    this.#latest.set(socket, res);
    return true;
  }

  /**
   * What came on a connection is no request, or not in time: says so behind the answers to those before it, and closes
   * the connection. Node's own refusal would cut those answers off.
   */
  refuse(socket: Socket, fault: NodeJS.ErrnoException): void {
    if (fault.code === "ECONNRESET" || !socket.writable) {
      socket.destroy();
    } else if (!this.#refused.has(socket)) {
      // The parser says the same of all that still comes.
      this.#refused.add(socket);
      this.refuseBehindAnswers(socket, STATUS_OF_FAULT[fault.code ?? ""] ?? HTTP_BAD_REQUEST);
    }
  }

  /** The same for what Node can read and we do not take, with the status to say so by. */
  refuseBehindAnswers(socket: Socket, status: number): void {
    const latest = this.#latest.get(socket);
    if (latest === undefined) {
      this.#end(socket, status);
    } else if (latest.headersSent && !latest.req.complete) {
      // It was answered before it had come whole, and the answer can say no more.
      whenAnswered(latest, () => socket.destroySoon());
    } else if (!isClosing(latest)) {
      const before = latest.req.complete ? latest : this.#before.get(latest);
      whenAnswered(before, () => this.#end(socket, status));
    }
  }

  #end(socket: Socket, status: number): void {
    if (socket.writable) {
      socket.write(`HTTP/1.1 ${status} ${STATUS_CODES[status]}\r\nConnection: close\r\n\r\n`);
    }
    socket.destroySoon();
    this.#deps.clock.schedule(this.#deps.lingerTimeoutMs, () => socket.destroy());
  }

  /**
   * Lets an answer that waits for the one before it close with the connection. Older versions of Node only tell the one
   * whose turn it is, and those behind it, and all that waits for their end, would never hear of it.
   */
  #closeWith(previous: ServerResponse, socket: Socket, res: ServerResponse): void {
    previous.once("close", () => {
      this.#before.delete(res);
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
    this.#endsMs.delete(socket);
    this.#old.delete(socket);
    if (this.#draining && this.#latest.size === 0) {
      this.#cancelLateRequests();
    }
  }

  #makeLast(previous: ServerResponse | undefined, res: ServerResponse): void {
    if (previous !== undefined && !previous.headersSent) {
      // Pipelined: to end the connection with the earlier answer would cut off this one.
      previous.shouldKeepAlive = true;
    }
    res.shouldKeepAlive = false;
  }

  /** Finds the connections that are too old. */
  sweep(): void {
    const nowMs = this.#deps.clock.elapsed();
    for (const [socket, endsMs] of this.#endsMs) {
      if (nowMs >= endsMs) {
        this.#endsMs.delete(socket);
        this.#old.add(socket);
      }
    }
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

/** Whether the answer says, to be seen by the client, that the connection closes behind it. */
function isClosing(res: ServerResponse): boolean {
  return res.headersSent && !res.shouldKeepAlive;
}

/** Calls `then` when the answer is on its way; at once if there is none to wait for. */
function whenAnswered(res: ServerResponse | undefined, then: () => void): void {
  if (res === undefined || isAnswered(res)) {
    then();
  } else {
    res.once("finish", then);
  }
}

function isAnswered(res: ServerResponse): boolean {
  return res.writableFinished || res.destroyed;
}
