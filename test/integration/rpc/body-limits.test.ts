import { setImmediate as nextTurn } from "node:timers/promises";
import { BodyLimits } from "../../../src/rpc/limits.js";
import { FatefulIntake, type LanePort, openLanePort, pushMethod } from "../../support/lane-pair.js";
import { RawConnection } from "../../support/rpc-port.js";
import { EVENT, frame, pushesOf, pushOf, type RpcRequest } from "../../support/rpc-requests.js";
import { exchangeHttp1, exchangeHttp2, http1Bytes, withSession } from "../../support/wire-clients.js";

const KIB = 1024;
const LIMITS = { requestMaxBytes: 64 * KIB, bodiesMaxBytes: 130 * KIB };

/** JSON of an event, as long as is wanted. */
function jsonOf(bytes: number): Buffer {
  const json = pushesOf(EVENT).json.body.toString();
  return Buffer.from(json.slice(0, -1).padEnd(bytes - 1) + json.slice(-1));
}

const large = jsonOf(60 * KIB);
const manyCuts = Array.from({ length: 9 }, (_, n) => (n + 1) / 10);

let port: LanePort;
let limits: BodyLimits;
afterEach(async () => {
  await port.server.close();
  await untilUsed(0);
});

/** Resolves when bodies take no more than that. */
async function untilUsed(bytes: number): Promise<void> {
  while (limits.usedBytes > bytes) {
    await nextTurn();
  }
}

async function open(hasFastLane: boolean): Promise<void> {
  limits = new BodyLimits(LIMITS);
  port = await openLanePort([pushMethod(new FatefulIntake())], { hasFastLane, bodyLimits: limits });
}

function head(length: number): string {
  return `POST /stats.v1.StatsService/Push HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: ${length}\r\n\r\n`;
}

/** A client whose large body gets stuck on its way, in two pieces that the server has read. */
async function sendHalf(): Promise<RawConnection> {
  const before = limits.usedBytes;
  const client = await RawConnection.open(port.port);
  await client.send(head(large.length) + large.toString("latin1", 0, 1024));
  for (let end = 2048; limits.usedBytes === before; end += 1024) {
    await client.send(large.toString("latin1", end - 1024, end));
    await nextTurn();
  }
  return client;
}

/** Fills the room up. */
async function fill(): Promise<RawConnection[]> {
  const clients: RawConnection[] = [];
  while (limits.usedBytes + large.length <= LIMITS.bodiesMaxBytes) {
    clients.push(await sendHalf());
    if (clients.length > 20) {
      throw new Error("nothing is counted");
    }
  }
  return clients;
}

function overHttp1(request: RpcRequest): Promise<string> {
  const bytes = http1Bytes({ ...request, version: "1.0", host: ["x"], framing: "length" });
  return exchangeHttp1(port.port, bytes, false);
}

function overHttp2(request: RpcRequest) {
  return withSession(port.url, (session) => exchangeHttp2(session, request));
}

describe.each([
  ["fast", true],
  ["stock", false],
])("with large requests stuck on their way, on the %s lane", (_name, hasFastLane) => {
  test("one more is refused over each protocol, with the time to come back", async () => {
    await open(hasFastLane);
    const stuck = await fill();
    const json = pushOf("application/json", large, manyCuts);

    const http1 = await overHttp1(json);
    expect(http1).toMatch(/HTTP\/1\.1 429 [\s\S]*"code":"resource_exhausted"[\s\S]*google\.rpc\.RetryInfo/);
    const http2 = await overHttp2(json);
    expect(http2.headers?.[":status"]).toBe(429);
    expect(http2.body).toContain("google.rpc.RetryInfo");
    const grpc = await overHttp2(pushOf("application/grpc+json", frame(large), manyCuts));
    expect(grpc.trailers?.["grpc-status"]).toBe("8");
    expect(grpc.trailers?.["grpc-status-details-bin"]).toBeDefined();

    for (const { socket } of stuck) {
      socket.destroy();
    }
    await Promise.all(stuck.map(({ closed }) => closed));
  });

  test("small ones are taken", async () => {
    await open(hasFastLane);
    const stuck = await fill();
    const { json, proto, grpc } = pushesOf(EVENT);
    const small = pushOf("application/json", jsonOf(8 * KIB), manyCuts);
    for (const request of [json, small]) {
      expect(await overHttp1(request)).toContain("HTTP/1.1 200 OK");
    }
    for (const request of [proto, small]) {
      expect((await overHttp2(request)).headers?.[":status"]).toBe(200);
    }
    expect((await overHttp2(grpc)).trailers?.["grpc-status"]).toBe("0");
    for (const { socket } of stuck) {
      socket.destroy();
    }
    await Promise.all(stuck.map(({ closed }) => closed));
  });

  test("those that were stuck are answered when they come whole, and leave room for others", async () => {
    await open(hasFastLane);
    const stuck = await fill();
    const ofOneBytes = limits.usedBytes / stuck.length;
    for (const { socket } of stuck.slice(1)) {
      socket.resetAndDestroy();
    }
    await untilUsed(ofOneBytes);
    const [first] = stuck;
    const sent = first?.socket.bytesWritten ?? 0;
    await first?.send((head(large.length) + large.toString("latin1")).slice(sent));
    await first?.receives("HTTP/1.1 200 OK");
    first?.socket.destroy();
    await untilUsed(0);
    expect(await overHttp1(pushOf("application/json", large, manyCuts))).toContain("HTTP/1.1 200 OK");
    expect((await overHttp2(pushOf("application/json", large, manyCuts))).headers?.[":status"]).toBe(200);
  });

  test("a message over the limit of one is refused for that", async () => {
    await open(hasFastLane);
    const tooLarge = pushOf("application/json", jsonOf(65 * KIB), manyCuts);
    expect(await overHttp1(tooLarge)).toContain("larger than configured readMaxBytes 65536");
    expect((await overHttp2(tooLarge)).body).toContain("larger than configured readMaxBytes 65536");
  });
});
