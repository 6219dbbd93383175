import { once } from "node:events";
import { connect, constants } from "node:http2";
import { buffer } from "node:stream/consumers";
import type { RpcServerLimits } from "../../../src/server/limits.js";
import type { RpcHandler } from "../../../src/server/rpc-handler.js";
import { makeGate, openRpcPort, RawConnection, type RpcPort } from "../../support/rpc-port.js";

const HTTP2_PREFACE = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

const SHORT: Partial<RpcServerLimits> = {
  headersTimeoutMs: 60,
  requestTimeoutMs: 120,
  keepAliveTimeoutMs: 20,
  sessionIdleTimeoutMs: 100,
  lingerTimeoutMs: 60,
  sweepIntervalMs: 20,
};

const answerAtOnce: RpcHandler = (_req, res) => res.end("done");

let rpc: RpcPort;
afterEach(() => rpc.server.close());

describe("the headers time-out", () => {
  it.each([
    ["sends nothing", ""],
    ["sends half of the first word", "PR"],
    ["sends half a preface", HTTP2_PREFACE.slice(0, 12)],
    ["sends the preface and no SETTINGS", HTTP2_PREFACE],
  ])("closes a connection that %s", async (_name, bytes) => {
    rpc = await openRpcPort(answerAtOnce, SHORT);
    const client = await RawConnection.open(rpc.port);
    await client.send(bytes);
    await client.closed;
    expect(client.received).not.toContain("HTTP/1.1");
  });

  it("answers 408 to half a header over HTTP/1.1", async () => {
    rpc = await openRpcPort(answerAtOnce, SHORT);
    const client = await RawConnection.open(rpc.port);
    await client.send("GET / HTTP/1.1\r\nHo");
    await client.closed;
    expect(client.received).toMatch(/^HTTP\/1\.1 408 /);
  });

  it("holds while the server drains", async () => {
    rpc = await openRpcPort(answerAtOnce, SHORT);
    const client = await RawConnection.open(rpc.port);
    await client.send("GET / HTTP/1.1\r\nHo");
    // The answer to a later connection shows that the first is past the sniffer.
    const later = await RawConnection.open(rpc.port);
    await later.send("GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    await later.closed;
    await rpc.server.drain(60_000);
    await client.closed;
    expect(client.received).toMatch(/^HTTP\/1\.1 408 /);
  });
});

describe("the request time-out", () => {
  it("answers 408 to a body that never ends over HTTP/1.1", async () => {
    rpc = await openRpcPort((req) => req.resume(), SHORT);
    const client = await RawConnection.open(rpc.port);
    await client.send("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n12345");
    await client.closed;
    expect(client.received).toMatch(/^HTTP\/1\.1 408 /);
  });

  it("resets a stream whose body never ends, and leaves the others of the session alone", async () => {
    const release = makeGate();
    rpc = await openRpcPort((req, res) => {
      req.resume();
      if (req.url === "/slow-handler") {
        void release.opened.then(() => res.end("slow but whole"));
      }
    }, SHORT);
    const session = connect(rpc.url);
    const patient = session.request({ ":path": "/slow-handler", ":method": "POST" }, { endStream: false });
    patient.end("all of the body");
    const endless = session.request({ ":path": "/endless", ":method": "POST" }, { endStream: false });
    endless.write("12345");
    await once(endless, "close");
    expect(endless.rstCode).toBe(constants.NGHTTP2_CANCEL);
    release.open();
    expect((await buffer(patient)).toString()).toBe("slow but whole");
    session.close();
  });

  it("does not count the time that the handler takes over HTTP/1.1", async () => {
    const release = makeGate();
    rpc = await openRpcPort((req, res) => {
      req.resume();
      void release.opened.then(() => res.end("slow but whole"));
    }, SHORT);
    const patient = await RawConnection.open(rpc.port);
    await patient.send("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\n123");
    const endless = await RawConnection.open(rpc.port);
    await endless.send("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\n12");
    await endless.closed;
    release.open();
    await patient.receives("slow but whole");
  });
});

describe("the idle time-outs", () => {
  it("close an HTTP/1.1 connection that asks nothing more", async () => {
    rpc = await openRpcPort(answerAtOnce, SHORT);
    const client = await RawConnection.open(rpc.port);
    await client.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    await client.receives("done");
    await client.closed;
  });

  it("close a session without a stream by GOAWAY, but not one with an open stream", async () => {
    rpc = await openRpcPort((req, res) => {
      res.writeHead(200);
      if (req.url === "/watch") {
        res.write("now");
      } else {
        res.end();
      }
    }, SHORT);
    const watching = connect(rpc.url);
    const watch = watching.request({ ":path": "/watch" });
    await once(watch, "data");
    const idle = connect(rpc.url);
    idle.request().resume();
    const [code] = await once(idle, "goaway");
    expect(code).toBe(constants.NGHTTP2_NO_ERROR);
    await once(idle, "close");
    expect(watching.closed).toBe(false);
    expect(watch.closed).toBe(false);
    watching.destroy();
  });

  it("cut a client that keeps its half of the connection after the GOAWAY", async () => {
    rpc = await openRpcPort(answerAtOnce, SHORT);
    const client = await RawConnection.open(rpc.port);
    // Half-open: it reads the end of the stream and does not answer with its own.
    client.socket.allowHalfOpen = true;
    await client.send(`${HTTP2_PREFACE}\0\0\0\x04\0\0\0\0\0`);
    await once(client.socket, "end");
    // Resolves when no connection is left: the client does not close its own.
    await rpc.server.drain(60_000);
    client.socket.destroy();
  });
});
