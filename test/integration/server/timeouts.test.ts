import { once } from "node:events";
import { connect, constants } from "node:http2";
import { buffer } from "node:stream/consumers";
import type { RpcServerLimits } from "../../../src/server/limits.js";
import type { RpcHandler } from "../../../src/server/rpc-handler.js";
import { makeGate, openRpcPort, RawConnection, type RpcPort } from "../../support/rpc-port.js";
import { delay } from "../../support/wait.js";

const HTTP2_PREFACE = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/** Node's own timers hold some of them. A client that is in time must be so on a busy machine, too. */
const SHORT: Partial<RpcServerLimits> = {
  headersTimeoutMs: 300,
  requestTimeoutMs: 600,
  keepAliveTimeoutMs: 300,
  sessionIdleTimeoutMs: 500,
  lingerTimeoutMs: 300,
  sweepIntervalMs: 50,
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

  it("does not run for a stream that has its answer: the next sweep ends it without an error", async () => {
    const limits = { ...SHORT, requestTimeoutMs: 60_000 };
    rpc = await openRpcPort((req, res) => req.once("data", () => res.end("enough")), limits);
    const session = connect(rpc.url);
    const endless = session.request({ ":method": "POST" }, { endStream: false });
    endless.write("12345");
    const closed = once(endless, "close");
    expect((await buffer(endless)).toString()).toBe("enough");
    await closed;
    expect(endless.rstCode).toBe(constants.NGHTTP2_NO_ERROR);
    session.close();
  });

  it("does not run for a stream that its client has reset without an error: the next sweep frees its place", async () => {
    const limits = { ...SHORT, requestTimeoutMs: 60_000, maxConcurrentStreams: 1 };
    rpc = await openRpcPort((req, res) => (req.method === "GET" ? res.end("done") : req.pause()), limits);
    const session = connect(rpc.url);
    const unread = session.request({ ":method": "POST" });
    unread.end("12345");
    await once(unread, "finish");
    unread.close(constants.NGHTTP2_NO_ERROR);
    await once(unread, "close");
    let answer = "";
    while (answer === "") {
      answer = await buffer(session.request()).then(String, () => "");
      // Node ends a session in which too many streams were refused.
      await delay(50);
    }
    expect(answer).toBe("done");
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

describe("the time of silence", () => {
  const SILENCE = { ...SHORT, sessionIdleTimeoutMs: 60_000, pingAfterMs: 100, pingTimeoutMs: 100 };
  /** The client runs in this process, too, which may be late to answer a ping. */
  const PATIENT = { ...SILENCE, pingTimeoutMs: 60_000 };
  const SETTINGS_ACK = "\0\0\0\x04\x01\0\0\0\0";
  /** HEADERS of a POST whose body does not come, its fields from HPACK's static table (RFC 7541, appendix A). */
  const HALF_A_REQUEST = "\0\0\x03\x01\x04\0\0\0\x01\x83\x84\x86";

  it.each([
    ["without a stream", ""],
    ["with an open stream", HALF_A_REQUEST],
  ])(
    "frees the place of a session %s that broke the protocol, though Node no longer sees that its client is gone",
    async (_name, request) => {
      const limits = { ...SILENCE, requestTimeoutMs: 60_000, maxConnections: 1 };
      rpc = await openRpcPort((req, res) => (req.method === "GET" ? res.end("done") : req.resume()), limits);
      const client = await RawConnection.open(rpc.port);
      await client.send(`${HTTP2_PREFACE}\0\0\0\x04\0\0\0\0\0${request}`);
      await client.receives(SETTINGS_ACK);
      // A DATA frame of 16 MiB, behind which the session is over.
      await client.send(`\xff\xff\xff\0\0\0\0\0\x01${"a".repeat(100_000)}`);
      await client.receives("too large frame size");
      client.socket.resetAndDestroy();
      await client.closed;
      let answer = "";
      while (answer === "") {
        const next = await RawConnection.open(rpc.port);
        await next.send("GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        await next.closed;
        answer = next.received;
      }
      expect(answer).toContain("done");
    },
  );

  it("leaves a session alone whose client says nothing but answers pings", async () => {
    rpc = await openRpcPort((_req, res) => {
      res.writeHead(200);
      res.write("now");
    }, PATIENT);
    const session = connect(rpc.url);
    const watch = session.request();
    await once(watch, "data");
    for (let n = 0; n < 5; n++) {
      await once(session, "ping");
    }
    expect(session.closed).toBe(false);
    expect(watch.closed).toBe(false);
    session.destroy();
  });
});
