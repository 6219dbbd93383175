import type { ServerResponse } from "node:http";
import type { AckMode } from "../../../gen/stats/v1/stats_pb.js";
import type { RpcHandler } from "../../../src/server/rpc-handler.js";
import { makeCertificate } from "../../support/certificates.js";
import { FATE, FatefulIntake, type LanePort, openLanePort, pushMethod } from "../../support/lane-pair.js";
import { makeGate, openRpcPort, RawConnection, type RpcPort } from "../../support/rpc-port.js";
import { exchangeHttp1 } from "../../support/wire-clients.js";

const LANES = ["fast", "stock"] as const;

/** The intake of a port, which counts what it took. */
class CountingIntake extends FatefulIntake {
  pushed = 0;

  override push(event: Parameters<FatefulIntake["push"]>[0]): ReturnType<FatefulIntake["push"]> {
    this.pushed += 1;
    return super.push(event);
  }
}

function pushText(
  ack: keyof typeof AckMode = "QUEUED",
  headers = "",
  item: number = FATE.durableLater,
): string {
  const body = `{"property":"news","section":1,"item":${item},"ack":"ACK_MODE_${ack}"}`;
  return `POST /stats.v1.StatsService/Push HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n${headers}Content-Length: ${body.length}\r\n\r\n${body}`;
}

const count = (text: string, pattern: RegExp) => [...text.matchAll(pattern)].length;
const OK = /HTTP\/1\.1 200 /g;
const REFUSED = /HTTP\/1\.1 4\d\d /g;

describe.each(LANES)("requests on one HTTP/1.1 connection, on the %s lane", (lane) => {
  let intake: CountingIntake;
  let port: LanePort;
  let client: RawConnection;
  beforeEach(async () => {
    intake = new CountingIntake();
    port = await openLanePort([pushMethod(intake)], { hasFastLane: lane === "fast" });
    client = await RawConnection.open(port.port);
  });
  afterEach(async () => {
    client.socket.destroy();
    await port.server.close();
  });

  test.each(["QUEUED", "DURABLE"] as const)(
    "a %s push is answered when its client has ended its half",
    async (ack) => {
      client.socket.end(pushText(ack));
      await client.closed;
      expect(count(client.received, OK)).toBe(1);
    },
  );

  test("pushes that are pipelined are answered when their client has ended its half", async () => {
    client.socket.end([pushText("DURABLE"), pushText(), pushText("DURABLE")].join(""));
    await client.closed;
    expect(count(client.received, OK)).toBe(3);
  });

  test("a client that ends its half between two requests is let go", async () => {
    await client.send(pushText());
    await client.receives("200 OK");
    client.socket.end();
    await client.closed;
    expect(count(client.received, OK)).toBe(1);
  });

  test("a client that ends its half in the middle of a request is refused", async () => {
    client.socket.end(pushText().slice(0, -5));
    await client.closed;
    expect(count(client.received, OK)).toBe(0);
    expect(intake.pushed).toBe(0);
  });

  test.each([
    ["a line that is no request", "BAD\r\n\r\n", 400],
    ["a request without its Host", "POST / HTTP/1.1\r\n\r\n", 400],
    ["a header that is too large", `GET / HTTP/1.1\r\nHost: x\r\nX: ${"x".repeat(20_000)}\r\n\r\n`, 431],
    ["a length that is none", "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: x\r\n\r\n", 400],
    ["CONNECT", "CONNECT x:1 HTTP/1.1\r\nHost: x\r\n\r\n", 405],
  ])(
    "%s is refused behind the answers to the 50 before it, and nothing behind it is taken",
    async (...one) => {
      const [, malformed, status] = one;
      const before = Array.from({ length: 50 }, (_, n) => pushText(n % 2 === 0 ? "QUEUED" : "DURABLE"));
      const behind = Array.from({ length: 49 }, () => pushText());
      await client.send([...before, malformed, ...behind].join(""));
      await client.closed;
      expect(count(client.received, OK)).toBe(50);
      expect(client.received.slice(client.received.lastIndexOf("HTTP/1.1"))).toMatch(
        new RegExp(`^HTTP/1.1 ${status} `),
      );
      expect(intake.pushed).toBe(50);
    },
  );

  test("a body that is malformed is refused behind the answers before it", async () => {
    const chunked =
      "POST /stats.v1.StatsService/Push HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n";
    await client.send([pushText("DURABLE"), pushText(), chunked, pushText()].join(""));
    await client.closed;
    expect(count(client.received, OK)).toBe(2);
    expect(count(client.received, REFUSED)).toBe(1);
    expect(intake.pushed).toBe(2);
  });

  test.each([
    ["too many fields", Array.from({ length: 200 }, (_, n) => `x-${n}: 1\r\n`).join(""), 431, 0],
    ["connection: close", "Connection: close\r\n", 200, 1],
  ])("nothing behind a request with %s is taken, since its answer closes", async (...one) => {
    const [, headers, status, taken] = one;
    await client.send([pushText("QUEUED", headers), pushText(), pushText()].join(""));
    await client.closed;
    expect(client.received).toMatch(new RegExp(`^HTTP/1.1 ${status} `));
    expect(count(client.received, /HTTP\/1\.1 /g)).toBe(1);
    expect(intake.pushed).toBe(taken);
  });

  test("nothing behind an answer that closes is taken when it waits for the answers before it", async () => {
    const fields = Array.from({ length: 200 }, (_, n) => `x-${n}: 1\r\n`).join("");
    await client.send([pushText("DURABLE"), pushText("QUEUED", fields), pushText()].join(""));
    await client.closed;
    expect(count(client.received, OK)).toBe(1);
    expect(count(client.received, REFUSED)).toBe(1);
    expect(intake.pushed).toBe(1);
  });
});

test.each(LANES)("a client that has ended its half is answered over TLS, on the %s lane", async (lane) => {
  const { cert, key } = await makeCertificate("server");
  const current = { cert: Buffer.from(cert), key: Buffer.from(key), ca: undefined };
  const port = await openLanePort([pushMethod(new FatefulIntake())], {
    hasFastLane: lane === "fast",
    tls: { current, onChange: () => {} },
  });
  const answers = await exchangeHttp1(port.port, [pushText("DURABLE") + pushText()], true, cert);
  expect(count(answers, OK)).toBe(2);
  await port.server.close();
});

test("a request that comes when an answer that closes has been begun is not taken", async () => {
  const gate = makeGate();
  const seen: string[] = [];
  const handler: RpcHandler = (req, res) => {
    seen.push(req.url ?? "");
    (res as ServerResponse).shouldKeepAlive = false;
    res.writeHead(200);
    void gate.opened.then(() => res.end("done"));
  };
  const rpc: RpcPort = await openRpcPort(handler);
  const client = await RawConnection.open(rpc.port);
  await client.send("GET /1 HTTP/1.1\r\nHost: x\r\n\r\n");
  await client.send("GET /2 HTTP/1.1\r\nHost: x\r\n\r\n");
  gate.open();
  await client.closed;
  expect(seen).toEqual(["/1"]);
  await rpc.server.close();
});
