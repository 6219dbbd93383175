/** Connections of an attacker: send any bytes, and count what comes back; they keep no rule of any protocol. */
import { connect, type Socket } from "node:net";
import { setImmediate as nextTurn, setTimeout as sleep } from "node:timers/promises";
import { GOAWAY, PREFACE, RST_STREAM, readFrames } from "./http2-frames.js";

/** How often each thing was seen. */
export class Tally {
  readonly #counts = new Map<string, number>();

  add(what: string, count = 1): void {
    this.#counts.set(what, this.of(what) + count);
  }

  of(what: string): number {
    return this.#counts.get(what) ?? 0;
  }

  /** For example "200 × 431, 3 × connection closed". */
  toString(): string {
    return [...this.#counts].map(([what, count]) => `${count} × ${what}`).join(", ") || "nothing";
  }
}

/** What an attacker sees when the service has closed a connection. */
export const CLOSED = "connection closed";

const STATUS_LENGTH = "HTTP/1.1 200 ".length;

/** One connection. */
export class Attacker {
  readonly socket: Socket;
  readonly #tally: Tally;
  /** Resolves when the connection is closed, by whomever. */
  readonly closed: Promise<void>;
  #isLeaving = false;

  private constructor(socket: Socket, tally: Tally) {
    this.socket = socket;
    this.#tally = tally;
    socket.on("error", () => {});
    this.closed = new Promise((resolve) => {
      socket.once("close", () => {
        if (!this.#isLeaving) {
          tally.add(CLOSED);
        }
        resolve();
      });
    });
  }

  /** Connects, and counts HTTP/1.1 statuses. */
  static async open(port: number, tally: Tally): Promise<Attacker> {
    const attacker = await Attacker.#connect(port, tally);
    let rest = "";
    attacker.socket.on("data", (chunk: Buffer) => {
      const text = rest + chunk.toString("latin1");
      for (const [, status = ""] of text.matchAll(/HTTP\/1\.1 (\d{3}) /g)) {
        tally.add(status);
      }
      // What may be the start of a status line, and is too short for one.
      rest = text.slice(-STATUS_LENGTH + 1);
    });
    return attacker;
  }

  /** Connects, opens a session with `settings` (a SETTINGS frame), and counts resets and GOAWAYs by their codes. */
  static async openHttp2(port: number, tally: Tally, settings: Buffer): Promise<Attacker> {
    const attacker = await Attacker.#connect(port, tally);
    let rest: Buffer = Buffer.alloc(0);
    attacker.socket.on("data", (chunk: Buffer) => {
      rest = readFrames(Buffer.concat([rest, chunk]), ({ type, payload }) => {
        if (type === RST_STREAM) {
          tally.add(`RST_STREAM ${payload.readUInt32BE(0)}`);
        } else if (type === GOAWAY) {
          tally.add(`GOAWAY ${payload.readUInt32BE(4)}`);
        }
      });
    });
    await attacker.send(Buffer.concat([PREFACE, settings]));
    return attacker;
  }

  static async #connect(port: number, tally: Tally): Promise<Attacker> {
    const socket = connect({ port, host: "127.0.0.1", noDelay: true });
    const attacker = new Attacker(socket, tally);
    await new Promise<void>((resolve) => {
      socket.once("connect", resolve).once("close", () => resolve());
    });
    return attacker;
  }

  get isOpen(): boolean {
    return this.socket.writable;
  }

  /** Resolves when there is room to send more, or the connection is closed. */
  async send(bytes: string | Buffer): Promise<void> {
    if (!this.isOpen) {
      return;
    }
    if (!this.socket.write(bytes, "latin1")) {
      await Promise.race([
        new Promise<void>((resolve) => this.socket.once("drain", () => resolve())),
        this.closed,
      ]);
    }
    // The others run in this process, too.
    await nextTurn();
  }

  /** Resolves when the service has closed the connection, or did not for `patienceMs`. */
  async closedWithin(patienceMs: number): Promise<void> {
    let timer: NodeJS.Timeout | undefined;
    const patience = new Promise<void>((resolve) => {
      timer = setTimeout(resolve, patienceMs);
    });
    await Promise.race([this.closed, patience]);
    clearTimeout(timer);
  }

  /** Is gone at once. */
  async leave(): Promise<void> {
    if (this.isOpen) {
      this.#tally.add("still open");
    }
    this.#isLeaving = true;
    this.socket.resetAndDestroy();
    await this.closed;
  }
}

/** Makes `count` attackers, a hundred at a time. */
export async function gather(count: number, open: () => Promise<Attacker>): Promise<Attacker[]> {
  const attackers: Attacker[] = [];
  while (attackers.length < count) {
    const some = Math.min(100, count - attackers.length);
    attackers.push(...(await Promise.all(Array.from({ length: some }, open))));
    await nextTurn();
  }
  return attackers;
}

/** All of them leave. */
export async function leaveAll(attackers: readonly Attacker[]): Promise<void> {
  await Promise.all(attackers.map((attacker) => attacker.leave()));
}

/** Resolves when `condition` holds, or does not for `patienceMs`. */
export async function eventually(condition: () => boolean, patienceMs: number): Promise<void> {
  const until = performance.now() + patienceMs;
  while (!condition() && performance.now() < until) {
    await sleep(20);
  }
}
