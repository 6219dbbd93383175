import { once } from "node:events";
import { connect, constants } from "node:http2";
import { connect as connectTcp, createServer } from "node:net";
import { buffer } from "node:stream/consumers";
import { ListenError } from "../../../src/server/listen.js";
import { RpcServer } from "../../../src/server/rpc-server.js";
import { makeGate, openRpcPort, RawConnection, type RpcPort, silent } from "../../support/rpc-port.js";

/** Longer than any test: what it bounds must not be what ends the test. */
const NEVER_MS = 60_000;
const BIG = "x".repeat(1_000_000);

let rpc: RpcPort;
afterEach(() => rpc.server.close());

/** A handler that answers when its gate opens, and says when a call has come. */
function heldHandler(answer = BIG) {
  const begun = makeGate();
  const release = makeGate();
  return {
    begun,
    release,
    handler: (_req: unknown, res: { end(body: string): unknown }) => {
      begun.open();
      void release.opened.then(() => res.end(answer));
    },
  };
}

describe("drain over HTTP/2", () => {
  it("sends GOAWAY and lets the call in flight finish with its whole answer", async () => {
    const { begun, release, handler } = heldHandler();
    rpc = await openRpcPort(handler);
    const session = connect(rpc.url);
    const answer = buffer(session.request());
    await begun.opened;
    const goaway = once(session, "goaway");
    const drained = rpc.server.drain(NEVER_MS);
    const [code] = await goaway;
    expect(code).toBe(constants.NGHTTP2_NO_ERROR);
    release.open();
    expect((await answer).length).toBe(BIG.length);
    await drained;
  });

  it("closes sessions without a call", async () => {
    rpc = await openRpcPort((_req, res) => res.end());
    const session = connect(rpc.url);
    await buffer(session.request());
    const closed = once(session, "close");
    await rpc.server.drain(NEVER_MS);
    await closed;
  });

  it("does not wait for the rest of a request that is answered already", async () => {
    rpc = await openRpcPort(
      (req, res) => {
        req.once("data", () => {
          req.pause();
          res.end("too large");
        });
      },
      { sweepIntervalMs: 10 },
    );
    const session = connect(rpc.url);
    const call = session.request({ ":method": "POST" });
    call.write(BIG);
    expect((await buffer(call)).toString()).toBe("too large");
    const closed = once(call, "close");
    await rpc.server.drain(NEVER_MS);
    await closed;
    expect(call.rstCode).toBe(constants.NGHTTP2_NO_ERROR);
  });
});

describe("drain over HTTP/1.1", () => {
  it("lets the call in flight finish with its whole answer and connection: close", async () => {
    const { begun, release, handler } = heldHandler();
    rpc = await openRpcPort(handler);
    const client = await RawConnection.open(rpc.port);
    await client.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    await begun.opened;
    const drained = rpc.server.drain(NEVER_MS);
    release.open();
    await drained;
    await client.closed;
    expect(client.received).toMatch(/^connection: close\r$/im);
    expect(client.received.endsWith(BIG)).toBe(true);
  });

  it("lets an answer that has begun finish, then closes its connection", async () => {
    const begun = makeGate();
    const release = makeGate();
    rpc = await openRpcPort((_req, res) => {
      res.writeHead(200, { "content-length": 10 });
      res.write("12345");
      begun.open();
      void release.opened.then(() => res.end("67890"));
    });
    const client = await RawConnection.open(rpc.port);
    await client.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    await client.receives("12345");
    const drained = rpc.server.drain(NEVER_MS);
    release.open();
    await drained;
    await client.closed;
    expect(client.received).toContain("1234567890");
  });

  it("answers a request that races with the drain on a connection that seemed idle, then closes it", async () => {
    rpc = await openRpcPort((_req, res) => res.end("answer"), { lateRequestMs: NEVER_MS });
    const client = await RawConnection.open(rpc.port);
    await client.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    await client.receives("answer");
    client.received = "";
    const drained = rpc.server.drain(NEVER_MS);
    await client.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    await drained;
    await client.closed;
    expect(client.received).toMatch(/^connection: close\r$/im);
    expect(client.received).toContain("answer");
  });

  it("closes a connection that waits for its next request", async () => {
    rpc = await openRpcPort((_req, res) => res.end("done"));
    const client = await RawConnection.open(rpc.port);
    await client.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    await client.receives("done");
    await rpc.server.drain(NEVER_MS);
    await client.closed;
  });

  it("closes a connection that has sent nothing", async () => {
    rpc = await openRpcPort((_req, res) => res.end("done"));
    const silentClient = await RawConnection.open(rpc.port);
    // An answer to a later connection shows that the first is accepted.
    const later = await RawConnection.open(rpc.port);
    await later.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    await later.receives("done");
    await rpc.server.drain(NEVER_MS);
    await silentClient.closed;
  });

  it("answers requests that come during the drain, the last with connection: close", async () => {
    const begun = makeGate();
    const second = makeGate();
    const release = makeGate();
    rpc = await openRpcPort((req, res) => {
      (req.url === "/1" ? begun : second).open();
      void release.opened.then(() => res.end(`answer to ${req.url}`));
    });
    const client = await RawConnection.open(rpc.port);
    await client.send("GET /1 HTTP/1.1\r\nHost: x\r\n\r\n");
    await begun.opened;
    const drained = rpc.server.drain(NEVER_MS);
    await client.send("GET /2 HTTP/1.1\r\nHost: x\r\n\r\n");
    await second.opened;
    release.open();
    await drained;
    await client.closed;
    const [first, last] = client.received.split("answer to /1");
    expect(first).toMatch(/^connection: keep-alive\r$/im);
    expect(last).toMatch(/^connection: close\r$/im);
    expect(last).toMatch(/answer to \/2$/);
  });

  it("answers a first request whose header was on its way", async () => {
    const arrived = makeGate();
    rpc = await openRpcPort((req, res) => {
      if (req.url === "/arrived") {
        arrived.open();
      }
      res.end("done");
    });
    const client = await RawConnection.open(rpc.port);
    await client.send("GET / HTTP/1.1\r\nHo");
    const later = await RawConnection.open(rpc.port);
    await later.send("GET /arrived HTTP/1.1\r\nHost: x\r\n\r\n");
    await arrived.opened;
    const drained = rpc.server.drain(NEVER_MS);
    await client.send("st: x\r\n\r\n");
    await drained;
    await client.closed;
    expect(client.received).toMatch(/^connection: close\r$/im);
    expect(client.received).toContain("done");
  });
});

describe("drain", () => {
  it("refuses new connections at once", async () => {
    const { begun, release, handler } = heldHandler();
    rpc = await openRpcPort(handler);
    const session = connect(rpc.url);
    const answer = buffer(session.request());
    await begun.opened;
    const drained = rpc.server.drain(NEVER_MS);
    const [error] = await once(connectTcp(rpc.port, "127.0.0.1"), "error");
    expect(error.code).toBe("ECONNREFUSED");
    release.open();
    await answer;
    await drained;
  });

  it("cuts what is left at the deadline, over both protocols", async () => {
    let calls = 0;
    const both = makeGate();
    rpc = await openRpcPort(() => {
      calls += 1;
      if (calls === 2) {
        both.open();
      }
    });
    const session = connect(rpc.url);
    session.on("error", () => {});
    session.request().on("error", () => {});
    const client = await RawConnection.open(rpc.port);
    await client.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    await both.opened;
    const closed = once(session, "close");
    await rpc.server.drain(20);
    await Promise.all([client.closed, closed]);
  });

  it("takes the earlier deadline of two", async () => {
    const { begun, handler } = heldHandler();
    rpc = await openRpcPort(handler);
    const client = await RawConnection.open(rpc.port);
    await client.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    await begun.opened;
    await Promise.all([rpc.server.drain(NEVER_MS), rpc.server.drain(10)]);
    await client.closed;
  });
});

describe("close", () => {
  it("is safe more than once and before listen", async () => {
    rpc = await openRpcPort((_req, res) => res.end());
    await Promise.all([rpc.server.close(), rpc.server.close()]);
    await rpc.server.close();
    const unused = new RpcServer({ host: "127.0.0.1", port: 0, handler: () => {}, logger: silent });
    await unused.close();
    await expect(unused.listen()).rejects.toThrow("listens once; it is closed");
  });

  it("stops a server that is only starting", async () => {
    const server = new RpcServer({ host: "127.0.0.1", port: 0, handler: () => {}, logger: silent });
    const listening = server.listen();
    await server.close();
    const { port } = await listening;
    const [error] = await once(connectTcp(port, "127.0.0.1"), "error");
    expect(error.code).toBe("ECONNREFUSED");
  });
});

describe("listen", () => {
  it("names PORT when the port is in use, and can be tried again", async () => {
    const other = createServer().listen(0, "127.0.0.1");
    await once(other, "listening");
    const { port } = other.address() as { port: number };
    const server = new RpcServer({ host: "127.0.0.1", port, handler: () => {}, logger: silent });
    const refusal = await server.listen().catch((error: unknown) => error);
    expect(refusal).toBeInstanceOf(ListenError);
    expect(refusal).toMatchObject({
      message: `PORT: port ${port} on 127.0.0.1 is in use by another process`,
    });
    other.close();
    await once(other, "close");
    expect(await server.listen()).toEqual({ host: "127.0.0.1", port });
    await server.close();
  });

  it("names HOST when the address is not this machine's", async () => {
    // RFC 5737: an address for documentation, nobody's.
    const server = new RpcServer({ host: "192.0.2.1", port: 0, handler: () => {}, logger: silent });
    await expect(server.listen()).rejects.toThrow(/^HOST: 192\.0\.2\.1 /);
  });
});
