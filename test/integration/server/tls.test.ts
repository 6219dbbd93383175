import { once } from "node:events";
import { connect as connectHttp2 } from "node:http2";
import { request as httpsRequest } from "node:https";
import { text } from "node:stream/consumers";
import { type ConnectionOptions, connect as connectTls, type TLSSocket } from "node:tls";
import fc from "fast-check";
import { connectionAddress, connectionOf } from "../../../src/server/caller-address.js";
import type { TlsCredentialsSource } from "../../../src/server/entrance.js";
import type { RpcServerLimits } from "../../../src/server/limits.js";
import type { RpcHandler } from "../../../src/server/rpc-handler.js";
import { RpcServer } from "../../../src/server/rpc-server.js";
import type { TlsCredentials } from "../../../src/server/tls-certificates.js";
import { type Certificate, makeCertificate } from "../../support/certificates.js";
import { FakeClock } from "../../support/fake-clock.js";
import { openLanePair } from "../../support/lane-pair.js";
import { makeGate, RawConnection, silent } from "../../support/rpc-port.js";
import { anyPipeline, anyRpcRequest } from "../../support/rpc-requests.js";
import { exchangeHttp1, exchangeHttp2, http1Bytes, withSession } from "../../support/wire-clients.js";

/** Longer than any test: what it bounds must not be what ends the test. */
const NEVER_MS = 60_000;
const LOOPBACK = [2, 32, 0, 4, 127, 0, 0, 1];

let server: Certificate;
let other: Certificate;
let clientCa: Certificate;
beforeAll(async () => {
  server = await makeCertificate("server");
  other = await makeCertificate("other");
  clientCa = await makeCertificate("client CA");
});

/** Credentials that a test can replace. */
class Credentials implements TlsCredentialsSource {
  current: TlsCredentials;
  #listener: (credentials: TlsCredentials) => void = () => {};

  constructor({ cert, key }: Certificate, ca?: Certificate) {
    this.current = { cert: Buffer.from(cert), key: Buffer.from(key), ca: ca && Buffer.from(ca.cert) };
  }

  onChange(listener: (credentials: TlsCredentials) => void): void {
    this.#listener = listener;
  }

  replace({ cert, key }: Certificate): void {
    this.current = { ...this.current, cert: Buffer.from(cert), key: Buffer.from(key) };
    this.#listener(this.current);
  }
}

const answerPeer: RpcHandler = (request, response) => {
  response.end(Buffer.from(connectionAddress(connectionOf(request))).toString("hex"));
};

let rpc: RpcServer | undefined;
afterEach(() => rpc?.close());

async function open(
  tls: TlsCredentialsSource,
  {
    handler = answerPeer,
    limits = {},
    clock,
  }: Partial<{ handler: RpcHandler; limits: Partial<RpcServerLimits>; clock: FakeClock }> = {},
): Promise<number> {
  rpc = new RpcServer({
    host: "127.0.0.1",
    port: 0,
    handler,
    logger: silent,
    tls,
    limits,
    ...(clock && { clock }),
  });
  return (await rpc.listen()).port;
}

/** Connects; rejects when the handshake fails. */
async function dial(port: number, options: ConnectionOptions): Promise<TLSSocket> {
  const socket = connectTls({ port, host: "127.0.0.1", ...options });
  await once(socket, "secureConnect");
  socket.on("error", () => {});
  return socket;
}

/** The body of an answer over HTTPS/1.1. */
async function get(port: number, ca: Certificate, client?: Certificate): Promise<string> {
  const call = httpsRequest({ port, host: "127.0.0.1", ca: ca.cert, agent: false, ...client });
  call.end();
  const [response] = await once(call, "response");
  return text(response);
}

const GET = "GET / HTTP/1.1\r\nHost: x\r\n\r\n";

describe("a port with TLS", () => {
  it("speaks HTTP/1.1 and HTTP/2, and knows the address of the client", async () => {
    const port = await open(new Credentials(server));
    const hex = Buffer.from(LOOPBACK).toString("hex");
    expect(await get(port, server)).toBe(hex);
    const session = connectHttp2(`https://127.0.0.1:${port}`, { ca: server.cert });
    expect(await text(session.request())).toBe(hex);
    session.close();
  });

  it("chooses HTTP/2 where the client can do both, HTTP/1.1 where it says nothing", async () => {
    const port = await open(new Credentials(server));
    const both = await dial(port, { ca: server.cert, ALPNProtocols: ["http/1.1", "h2"] });
    expect(both.alpnProtocol).toBe("h2");
    both.destroy();
    const silentClient = await dial(port, { ca: server.cert });
    silentClient.write(GET);
    const [answer] = await once(silentClient, "data");
    expect(String(answer)).toMatch(/^HTTP\/1\.1 200 /);
    silentClient.destroy();
  });

  it.each([
    ["HTTP/1.1", GET],
    ["HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"],
    ["garbage", "\0\xff\x16\x03\x01".repeat(500)],
  ])("refuses clear text, and goes on: %s", async (_name, bytes) => {
    let calls = 0;
    const handler: RpcHandler = (_request, response) => {
      calls += 1;
      response.end();
    };
    const port = await open(new Credentials(server), { handler });
    const client = await RawConnection.open(port);
    await client.send(bytes);
    await client.closed;
    expect(client.received).not.toContain("HTTP");
    expect(calls).toBe(0);
    await get(port, server);
    expect(calls).toBe(1);
  });

  it("refuses TLS 1.1", async () => {
    const port = await open(new Credentials(server));
    const old = dial(port, {
      ca: server.cert,
      maxVersion: "TLSv1.1",
      minVersion: "TLSv1",
      ciphers: "DEFAULT@SECLEVEL=0",
    });
    await expect(old).rejects.toMatchObject({ code: expect.stringMatching(/^ERR_SSL|ECONNRESET/) });
  });

  it("cuts a client that does not complete its handshake in time, whatever it sends meanwhile", async () => {
    const clock = new FakeClock();
    const port = await open(new Credentials(server), { clock, limits: { headersTimeoutMs: 5_000 } });
    const client = await RawConnection.open(port);
    // The start of a ClientHello of 512 bytes, and then a byte a second.
    await client.send("\x16\x03\x01\x02\x00");
    while (!client.socket.destroyed) {
      await clock.advance(1_000);
      client.socket.write("\x01");
    }
    await client.closed;
  });
});

describe("a port that asks clients for a certificate", () => {
  it("takes those with one from its CA", async () => {
    const port = await open(new Credentials(server, clientCa));
    const client = await makeCertificate("client", clientCa);
    expect(await get(port, server, client)).not.toBe("");
  });

  it.each(["none", "one from another CA", "one signed by itself"])("refuses those with %s", async (kind) => {
    let calls = 0;
    const handler = () => {
      calls += 1;
    };
    const port = await open(new Credentials(server, clientCa), { handler });
    const client = {
      none: undefined,
      "one from another CA": await makeCertificate("client", other),
      "one signed by itself": await makeCertificate("client CA"),
    }[kind];
    await expect(get(port, server, client)).rejects.toMatchObject({
      code: expect.stringMatching(/^ERR_SSL|ECONNRESET|EPIPE/),
    });
    expect(calls).toBe(0);
  });
});

describe("a new certificate", () => {
  it("is shown to those who connect from then on, and ends no call in flight", async () => {
    const begun = makeGate();
    const release = makeGate();
    const credentials = new Credentials(server);
    const port = await open(credentials, {
      handler: (_request, response) => {
        begun.open();
        void release.opened.then(() => response.end("whole"));
      },
    });
    const session = connectHttp2(`https://127.0.0.1:${port}`, { ca: server.cert });
    const answer = text(session.request());
    await begun.opened;
    credentials.replace(other);
    const late = await dial(port, { ca: other.cert });
    late.destroy();
    await expect(dial(port, { ca: server.cert })).rejects.toMatchObject({
      code: "DEPTH_ZERO_SELF_SIGNED_CERT",
    });
    release.open();
    expect(await answer).toBe("whole");
    expect(await text(session.request())).toBe("whole");
    session.close();
  });
});

describe("drain over TLS", () => {
  it("sends GOAWAY, lets the calls in flight finish, and drops who is still shaking hands", async () => {
    const begun = makeGate();
    const release = makeGate();
    const big = "x".repeat(1_000_000);
    let calls = 0;
    const port = await open(new Credentials(server), {
      handler: (_request, response) => {
        calls += 1;
        if (calls === 2) {
          begun.open();
        }
        void release.opened.then(() => response.end(big));
      },
    });
    const session = connectHttp2(`https://127.0.0.1:${port}`, { ca: server.cert });
    const answers = [text(session.request()), get(port, server)];
    await begun.opened;
    const shaking = await RawConnection.open(port);
    await shaking.send("\x16\x03\x01\x02\x00");
    const goaway = once(session, "goaway");
    const drained = rpc?.drain(NEVER_MS);
    await Promise.all([goaway, shaking.closed]);
    release.open();
    expect(await Promise.all(answers)).toEqual([big, big]);
    await drained;
  });
});

describe("the fast lane over TLS answers exactly as the stock lane", () => {
  it("over HTTP/1.1 and HTTP/2", async () => {
    await using pair = await openLanePair(new Credentials(server));
    const both = async <T>(send: (port: { port: number; url: string }) => Promise<T>) => {
      const [fast, stock] = await Promise.all([send(pair.fast), send(pair.stock)]);
      expect(fast).toEqual(stock);
    };
    await fc.assert(
      fc.asyncProperty(anyPipeline(), anyRpcRequest(2), async (pipeline, request) => {
        await both(({ port }) => exchangeHttp1(port, pipeline.flatMap(http1Bytes), false, server.cert));
        await both(({ url }) => withSession(url, (session) => exchangeHttp2(session, request), server.cert));
      }),
      { numRuns: 30 },
    );
    expect(pair.fast.counts.taken).toBeGreaterThan(60);
  }, 60_000);
});
