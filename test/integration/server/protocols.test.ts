import { once } from "node:events";
import { Agent, type IncomingMessage, request } from "node:http";
import { connect } from "node:http2";
import { buffer } from "node:stream/consumers";
import { connectNodeAdapter } from "@connectrpc/connect-node";
import { healthRoutes } from "../../../src/rpc/health-service.js";
import { connectionAddress, connectionOf } from "../../../src/server/caller-address.js";
import { Health } from "../../../src/server/health.js";
import type { RpcFastLane, RpcHandler } from "../../../src/server/rpc-handler.js";
import { makeGate, openRpcPort, RawConnection, type RpcPort } from "../../support/rpc-port.js";

const sayVersion: RpcHandler = (req, res) => {
  req.resume();
  req.on("end", () => res.end(`HTTP ${req.httpVersion} ${req.method} ${req.url}`));
};

const HTTP2_PREFACE = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/** An empty SETTINGS frame (RFC 9113, section 6.5). */
const EMPTY_SETTINGS = "\0\0\0\x04\0\0\0\0\0";

let rpc: RpcPort;
afterEach(() => rpc.server.close());

async function getHttp1(url: string, agent?: Agent): Promise<string> {
  const req = request(url, { agent: agent ?? false });
  req.end();
  const [res] = (await once(req, "response")) as [IncomingMessage];
  return (await buffer(res)).toString();
}

async function getHttp2(url: string, path: string): Promise<string> {
  const session = connect(url);
  try {
    return (await buffer(session.request({ ":path": path }))).toString();
  } finally {
    session.close();
  }
}

describe("one port for two protocols", () => {
  it("answers HTTP/1.1 and HTTP/2 clients at the same time", async () => {
    rpc = await openRpcPort(sayVersion);
    const answers = await Promise.all([getHttp1(`${rpc.url}/a`), getHttp2(rpc.url, "/b")]);
    expect(answers).toEqual(["HTTP 1.1 GET /a", "HTTP 2.0 GET /b"]);
  });

  it("keeps an HTTP/1.1 connection for the next request", async () => {
    rpc = await openRpcPort((req, res) => res.end(String(req.socket.remotePort)));
    const agent = new Agent({ keepAlive: true, maxSockets: 1 });
    expect(await getHttp1(rpc.url, agent)).toBe(await getHttp1(rpc.url, agent));
    agent.destroy();
  });

  it("tells the protocol from first bytes that come one at a time", async () => {
    rpc = await openRpcPort(sayVersion);
    const http1 = await RawConnection.open(rpc.port);
    for (const byte of "POST /slow HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nConnection: close\r\n\r\n") {
      await http1.send(byte);
    }
    await http1.receives("HTTP 1.1 POST /slow");
    const http2 = await RawConnection.open(rpc.port);
    for (const byte of HTTP2_PREFACE + EMPTY_SETTINGS) {
      await http2.send(byte);
    }
    await http2.receives("\0\0\0\x04\x01\0\0\0\0");
    http2.socket.destroy();
  });

  it("answers a client that ends its half of the connection with its request", async () => {
    rpc = await openRpcPort((_req, res) => res.end("whole"));
    const client = await RawConnection.open(rpc.port);
    client.socket.end("GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    await client.receives("whole");
    await client.closed;
  });

  it("closes an HTTP/2 connection whose client has ended its half", async () => {
    rpc = await openRpcPort(sayVersion);
    const client = await RawConnection.open(rpc.port);
    await client.send(HTTP2_PREFACE + EMPTY_SETTINGS);
    client.socket.end();
    await client.closed;
  });
});

describe("malformed input", () => {
  it.each([
    ["a first byte that is no protocol", "\x16\x03\x01\0\xa5", "HTTP/1.1 400 "],
    ["an unknown method", "PRINT / HTTP/1.1\r\n\r\n", ""],
    ["a request without a host", "GET / HTTP/1.1\r\n\r\n", "HTTP/1.1 400 "],
    ["a header that is too large", `GET / HTTP/1.1\r\nHost: x\r\nA: ${"a".repeat(20_000)}`, "HTTP/1.1 431 "],
    ["half a preface and the end", "PR", ""],
    ["a preface that goes wrong", "PRI * HTTP/1.0\r\n\r\nSM\r\n\r\n", ""],
  ])("survives %s", async (_name, bytes, answer) => {
    rpc = await openRpcPort(sayVersion);
    const client = await RawConnection.open(rpc.port);
    client.socket.end(bytes, "latin1");
    await client.closed;
    expect(client.received).toContain(answer);
    expect(await getHttp1(rpc.url)).toBe("HTTP 1.1 GET /");
  });

  it("survives an HTTP/2 frame that is too large, and closes that session with the others", async () => {
    rpc = await openRpcPort(sayVersion);
    const client = await RawConnection.open(rpc.port);
    await client.send(`${HTTP2_PREFACE}${EMPTY_SETTINGS}\xff\xff\xff\0\0\0\0\0\x01`);
    await client.receives("too large frame size");
    expect(await getHttp2(rpc.url, "/b")).toBe("HTTP 2.0 GET /b");
    await rpc.server.close();
    await client.closed;
  });

  it("answers 400 where the adapter throws on a malformed authority or path", async () => {
    rpc = await openRpcPort(
      connectNodeAdapter({
        routes: (router) => healthRoutes(router, { health: new Health(), services: [] }),
      }),
    );
    for (const head of [
      "POST /grpc.health.v1.Health/Check HTTP/1.1\r\nHost: [\r\n",
      "POST /grpc.health.v1.Health/Check HTTP/1.1\r\nHost: x\r\nHost: x\r\n",
      "POST /grpc.health.v1.Health/Check HTTP/1.0\r\n",
    ]) {
      const client = await RawConnection.open(rpc.port);
      client.socket.end(`${head}Content-Type: application/json\r\nContent-Length: 2\r\n\r\n{}`);
      await client.closed;
      expect(client.received).toMatch(/^HTTP\/1\.1 400 /);
    }
    const session = connect(rpc.url);
    const stream = session.request({
      ":path": "/grpc.health.v1.Health/Check",
      ":method": "POST",
      ":authority": "[",
    });
    const [headers] = await once(stream, "response");
    expect(headers[":status"]).toBe(400);
    session.destroy();
  });

  it("answers 500 if the handler throws on a request that is well-formed", async () => {
    rpc = await openRpcPort(() => {
      throw new Error("thrown by the test");
    });
    const session = connect(rpc.url);
    const [headers] = await once(session.request(), "response");
    expect(headers[":status"]).toBe(500);
    session.destroy();
  });
});

describe("a fast lane that throws", () => {
  const throwingLane: RpcFastLane = {
    takeRequest: () => {
      throw new Error("thrown by the test");
    },
    takeStream: () => {
      throw new Error("thrown by the test");
    },
  };

  it("costs the request, not the process", async () => {
    rpc = await openRpcPort((_req, res) => res.end(), {}, throwingLane);
    const client = await RawConnection.open(rpc.port);
    await client.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    await client.receives("HTTP/1.1 500 ");
    client.socket.destroy();
    const session = connect(rpc.url);
    const stream = session.request();
    await expect(once(stream, "response")).rejects.toThrow("NGHTTP2_INTERNAL_ERROR");
    session.destroy();
  });
});

describe("a client that leaves", () => {
  it("closes the answers that wait for their turn, too", async () => {
    const closed: (string | undefined)[] = [];
    const allClosed = makeGate();
    const allBegun = makeGate();
    let begun = 0;
    rpc = await openRpcPort((req, res) => {
      res.on("close", () => {
        closed.push(req.url);
        if (closed.length === 3) {
          allClosed.open();
        }
      });
      begun += 1;
      if (begun === 3) {
        allBegun.open();
      }
    });
    const client = await RawConnection.open(rpc.port);
    await client.send(["/1", "/2", "/3"].map((path) => `GET ${path} HTTP/1.1\r\nHost: x\r\n\r\n`).join(""));
    await allBegun.opened;
    client.socket.resetAndDestroy();
    await allClosed.opened;
    expect(closed).toEqual(["/1", "/2", "/3"]);
  });

  it.each(["http1", "http2"])("does not disturb a handler that answers later (%s)", async (protocol) => {
    const begun = makeGate();
    const left = makeGate();
    const answered = makeGate();
    rpc = await openRpcPort((req, res) => {
      begun.open();
      req.on("close", left.open);
      res.on("close", left.open);
      void left.opened.then(() => {
        res.end("too late");
        setImmediate(answered.open);
      });
    });
    if (protocol === "http1") {
      const client = await RawConnection.open(rpc.port);
      await client.send("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\n12");
      await begun.opened;
      client.socket.resetAndDestroy();
    } else {
      const session = connect(rpc.url);
      session.on("error", () => {});
      session.request({ ":method": "POST" }, { endStream: false }).on("error", () => {});
      await begun.opened;
      session.destroy();
    }
    await answered.opened;
  });
});

describe("the address of a connection", () => {
  it.each(["http1", "http2"])(
    "reads the address once for all requests of a connection (%s)",
    async (protocol) => {
      const seen: Uint8Array[] = [];
      rpc = await openRpcPort((req, res) => {
        seen.push(connectionAddress(connectionOf(req)));
        res.end();
      });
      if (protocol === "http1") {
        const agent = new Agent({ keepAlive: true, maxSockets: 1 });
        await getHttp1(rpc.url, agent);
        await getHttp1(rpc.url, agent);
        agent.destroy();
      } else {
        const session = connect(rpc.url);
        await buffer(session.request());
        await buffer(session.request());
        session.close();
      }
      expect(seen).toEqual([Uint8Array.from([2, 32, 0, 4, 127, 0, 0, 1]), expect.anything()]);
      expect(seen[1]).toBe(seen[0]);
    },
  );

  it("is empty when the connection is gone before it was read", async () => {
    const address = makeGate();
    let seen: Uint8Array | undefined;
    rpc = await openRpcPort((req, res) => {
      res.on("close", () => {
        seen = connectionAddress(connectionOf(req));
        address.open();
      });
      if ("stream" in req) {
        req.stream.session?.destroy();
      }
    });
    const session = connect(rpc.url);
    session.on("error", () => {});
    session.request().on("error", () => {});
    await address.opened;
    expect(seen).toEqual(new Uint8Array(0));
    session.destroy();
  });
});
