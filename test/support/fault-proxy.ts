/**
 * A TCP proxy in front of PostgreSQL, or of the service, that makes the network's faults on demand; it passes bytes on
 * unchanged and understands only as much of them as a fault needs.
 */
import { once } from "node:events";
import { type AddressInfo, connect, createServer, type Server, type Socket } from "node:net";

/**
 * - `pass`: no fault
 * - `refuse`: connections are reset as soon as they are made, open ones at once
 * - `blackhole`: connections stay open and nothing comes through any more, not even on open ones
 * - `slow`: each chunk is delayed by 500 ms, either way
 * - `cut-request`: half of what a client sends next comes through, then the connection is reset
 * - `cut-answer`: the same of what the server sends
 * - `reset-in-copy`: the connection is reset when the first data of a COPY have passed
 * - `cut-commit`: the answer to a COPY that was committed is swallowed and the connection reset
 */
export type NetworkFault =
  | "pass"
  | "refuse"
  | "blackhole"
  | "slow"
  | "cut-request"
  | "cut-answer"
  | "reset-in-copy"
  | "cut-commit";

const SLOW_MS = 500;
const POSTGRES_PORT = 5432;
/** The statement that begins a flush, as it stands in the message. */
const COPY_STATEMENT = Buffer.from("COPY incoming");
/** CommandComplete of a COPY, as it stands in the message: its tag, behind the type and the length. */
const COPY_COMPLETE = Buffer.from("COPY ");

/** One proxied connection. */
interface Link {
  readonly client: Socket;
  readonly server: Socket;
  inCopy: boolean;
}

/** Listens on a port that the system chose, and forwards to the server of a URL. */
export class FaultProxy implements AsyncDisposable {
  /** How often the fault in force did strike. */
  strikes = 0;
  readonly #target: URL;
  readonly #server: Server;
  readonly #links = new Set<Link>();
  readonly #timers = new Set<NodeJS.Timeout>();
  readonly #watchers = new Set<() => void>();
  #fault: NetworkFault = "pass";
  /** Strikes left before the fault goes back to `pass` by itself. */
  #remaining = Number.POSITIVE_INFINITY;

  private constructor(target: URL) {
    this.#target = target;
    this.#server = createServer((client) => this.#accept(client));
  }

  static async inFrontOf(url: string): Promise<FaultProxy> {
    const proxy = new FaultProxy(new URL(url));
    proxy.#server.listen(0, "127.0.0.1");
    await once(proxy.#server, "listening");
    return proxy;
  }

  /** The URL that it was given, by way of the proxy. */
  get url(): string {
    const { port } = this.#server.address() as AddressInfo;
    const url = Object.assign(new URL(this.#target), { hostname: "127.0.0.1", port: String(port) });
    // An origin has no slash at its end.
    return url.pathname === "/" ? url.origin : url.href;
  }

  /** Puts a fault in force, for `times` strikes or until the next call. */
  set(fault: NetworkFault, times = Number.POSITIVE_INFINITY): void {
    const isEnd = fault === "pass" && this.#fault !== "pass";
    this.#fault = fault;
    this.#remaining = times;
    this.strikes = 0;
    if (fault === "refuse" || isEnd) {
      // What hung in a black hole is not to be had back: a real network forgets it too.
      this.#cutAll();
    }
  }

  /** Resolves when the fault in force has struck since it was set. */
  async struck(): Promise<void> {
    while (this.strikes === 0) {
      await new Promise<void>((resolve) => {
        this.#watchers.add(resolve);
      });
    }
  }

  async close(): Promise<void> {
    this.#cutAll();
    for (const timer of this.#timers) {
      clearTimeout(timer);
    }
    if (this.#server.listening) {
      this.#server.close();
      await once(this.#server, "close");
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  #accept(client: Socket): void {
    if (this.#fault === "refuse") {
      this.strikes += 1;
      client.resetAndDestroy();
      return;
    }
    const server = connect(Number(this.#target.port || POSTGRES_PORT), this.#target.hostname);
    const link: Link = { client, server, inCopy: false };
    this.#links.add(link);
    for (const socket of [client, server]) {
      socket.on("error", () => this.#cut(link));
      socket.on("close", () => this.#cut(link));
    }
    client.on("data", (chunk) => this.#fromClient(link, chunk));
    server.on("data", (chunk) => this.#fromServer(link, chunk));
  }

  #fromClient(link: Link, chunk: Buffer): void {
    if (this.#fault === "cut-request" || (this.#fault === "reset-in-copy" && link.inCopy)) {
      link.server.write(chunk.subarray(0, chunk.length / 2));
      this.#strike(link);
      return;
    }
    if (chunk.includes(COPY_STATEMENT)) {
      link.inCopy = true;
    }
    this.#forward(link.server, chunk);
  }

  #fromServer(link: Link, chunk: Buffer): void {
    if (this.#fault === "cut-answer") {
      link.client.write(chunk.subarray(0, chunk.length / 2));
      this.#strike(link);
      return;
    }
    const complete = link.inCopy ? chunk.indexOf(COPY_COMPLETE) : -1;
    if (complete !== -1) {
      link.inCopy = false;
      if (this.#fault === "cut-commit") {
        this.#strike(link);
        return;
      }
    }
    this.#forward(link.client, chunk);
  }

  #forward(to: Socket, chunk: Buffer): void {
    if (this.#fault === "blackhole") {
      this.strikes += 1;
      return;
    }
    if (this.#fault === "slow") {
      this.strikes += 1;
      const timer = setTimeout(() => {
        this.#timers.delete(timer);
        to.write(chunk);
      }, SLOW_MS);
      this.#timers.add(timer);
      return;
    }
    to.write(chunk);
  }

  #strike(link: Link): void {
    this.strikes += 1;
    this.#remaining -= 1;
    if (this.#remaining <= 0) {
      this.#fault = "pass";
    }
    this.#cut(link);
    for (const wake of this.#watchers) {
      wake();
    }
    this.#watchers.clear();
  }

  #cut(link: Link): void {
    if (this.#links.delete(link)) {
      link.client.resetAndDestroy();
      link.server.destroy();
    }
  }

  #cutAll(): void {
    for (const link of this.#links) {
      this.#cut(link);
    }
  }
}
