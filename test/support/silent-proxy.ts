/** A TCP proxy in front of PostgreSQL, behind which PostgreSQL falls silent; it never closes a connection by itself. */
import { once } from "node:events";
import { type AddressInfo, connect, createServer, type Server, type Socket } from "node:net";

/** Passes everything on, until a client sends `text`: from there on that connection is open, and dead. */
export class SilentProxy implements AsyncDisposable {
  readonly #target: URL;
  readonly #text: Buffer;
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  readonly #watchers = new Set<() => void>();
  #isMended = false;
  #silenced = 0;

  private constructor(target: URL, text: string) {
    this.#target = target;
    this.#text = Buffer.from(text);
    this.#server = createServer((client) => this.#accept(client));
  }

  static async start(databaseUrl: string, text: string): Promise<SilentProxy> {
    const proxy = new SilentProxy(new URL(databaseUrl), text);
    proxy.#server.listen(0, "127.0.0.1");
    await once(proxy.#server, "listening");
    return proxy;
  }

  /** Of the same database, by way of the proxy. */
  get url(): string {
    const url = new URL(this.#target);
    url.hostname = "127.0.0.1";
    url.port = String((this.#server.address() as AddressInfo).port);
    return url.href;
  }

  /** Resolves when the text has come for the first time. */
  async fellSilent(): Promise<void> {
    while (this.#silenced === 0) {
      await new Promise<void>((resolve) => void this.#watchers.add(resolve));
    }
  }

  /** Lets the text pass on connections that are not silent yet. */
  mend(): void {
    this.#isMended = true;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const socket of this.#sockets) {
      socket.destroy();
    }
    this.#server.close();
    await once(this.#server, "close");
  }

  #accept(client: Socket): void {
    const server = connect(Number(this.#target.port || 5432), this.#target.hostname);
    for (const [socket, other] of [
      [client, server],
      [server, client],
    ] as const) {
      this.#sockets.add(socket);
      socket.on("error", () => other.destroy());
      socket.on("close", () => other.destroy());
    }
    let isSilent = false;
    server.on("data", (chunk: Buffer) => void (isSilent || client.write(chunk)));
    client.on("data", (chunk: Buffer) => {
      if (!this.#isMended && chunk.includes(this.#text)) {
        isSilent = true;
        this.#silenced += 1;
        for (const wake of this.#watchers) {
          wake();
        }
      }
      if (!isSilent) {
        server.write(chunk);
      }
    });
  }
}
