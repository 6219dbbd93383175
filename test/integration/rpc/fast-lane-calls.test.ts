import { type ClientHttp2Stream, connect, constants } from "node:http2";
import { buffer } from "node:stream/consumers";
import { setImmediate as nextTurn } from "node:timers/promises";
import { AckMode, StatsService } from "../../../gen/stats/v1/stats_pb.js";
import { Batch, type BatchWaiter } from "../../../src/ingest/batch.js";
import { IntakeClosedError } from "../../../src/ingest/refusal.js";
import type { EventIntake } from "../../../src/rpc/push.js";
import { type CallContext, type UnaryMethod, unaryMethod } from "../../../src/rpc/unary-method.js";
import type { RpcServerLimits } from "../../../src/server/limits.js";
import { FATE, FatefulIntake, type LanePort, openLanePort, pushMethod } from "../../support/lane-pair.js";
import { type Gate, makeGate, RawConnection } from "../../support/rpc-port.js";
import { EVENT, pushesOf, type RpcRequest } from "../../support/rpc-requests.js";
import { http1Bytes } from "../../support/wire-clients.js";

/** Longer than any test. */
const NEVER_MS = 60_000;

let port: LanePort;
afterEach(async () => {
  await port.server.close();
  // A test that passes by the stock lane has shown nothing.
  expect(port.counts.handedBack).toBe(0);
});

async function open(method: UnaryMethod, limits?: Partial<RpcServerLimits>): Promise<void> {
  port = await openLanePort([method], { hasFastLane: true, ...(limits && { limits }) });
}

/** A call that has been sent. */
interface SentCall {
  /** All that comes back: status, header, body and trailers. */
  readonly answer: Promise<string>;
  /** Gives up. */
  leave(): void;
}

type Headers = RpcRequest["headers"];

async function callHttp1(request: RpcRequest, headers: Headers): Promise<SentCall> {
  const client = await RawConnection.open(port.port);
  const whole = { ...request, headers: [...request.headers, ...headers] };
  await client.send(http1Bytes({ ...whole, version: "1.1", host: ["x"], framing: "length" }).join(""));
  return {
    answer: client.closed.then(() => client.received),
    leave: () => client.socket.resetAndDestroy(),
  };
}

function callHttp2(request: RpcRequest, headers: Headers): SentCall {
  const session = connect(port.url);
  session.on("error", () => {});
  const stream = session.request({
    ":method": request.method,
    ":path": request.path,
    ...Object.fromEntries([...request.headers, ...headers]),
  });
  stream.end(request.body);
  return {
    answer: wholeAnswer(stream).finally(() => session.close()),
    leave: () => stream.close(constants.NGHTTP2_CANCEL),
  };
}

async function wholeAnswer(stream: ClientHttp2Stream): Promise<string> {
  const parts: unknown[] = [];
  stream.on("response", (headers) => parts.push(headers)).on("trailers", (trailers) => parts.push(trailers));
  stream.on("error", () => {});
  const body = await buffer(stream).catch(() => "");
  return JSON.stringify([...parts, body.toString()]);
}

const PROTOCOLS = ["connect over http/1.1", "connect over http/2", "grpc"] as const;
type Protocol = (typeof PROTOCOLS)[number];

/** Longer than Node's timers can be. */
const ENDLESS = { connect: "9999999999", grpc: "99999999H" };

/** Pushes an event. The time-out is for the server to keep, the client waits. */
async function send(protocol: Protocol, event: object, timeout?: number | "endless"): Promise<SentCall> {
  const { json, proto, grpc } = pushesOf({ ...EVENT, ...event });
  const connectTimeout = timeout === "endless" ? ENDLESS.connect : timeout;
  const grpcTimeout =
    timeout === "endless" ? ENDLESS.grpc : timeout === undefined ? undefined : `${timeout}m`;
  const header = (name: string, value: string | number | undefined): Headers =>
    value === undefined ? [] : [[name, String(value)]];
  switch (protocol) {
    case "connect over http/1.1":
      return callHttp1(json, [...header("connect-timeout-ms", connectTimeout), ["connection", "close"]]);
    case "connect over http/2":
      return callHttp2(proto, header("connect-timeout-ms", connectTimeout));
    case "grpc":
      return callHttp2(grpc, header("grpc-timeout", grpcTimeout));
  }
}

const OK = /^HTTP\/1\.1 200 |":status":200,.*(application\/proto|"grpc-status":"0")/;
const UNAVAILABLE =
  /^HTTP\/1\.1 503 [\s\S]*"code":"unavailable"|":status":503,.*unavailable|"grpc-status":"14"/;
const DEADLINE_EXCEEDED =
  /^HTTP\/1\.1 504 [\s\S]*"code":"deadline_exceeded"|":status":504,.*deadline_exceeded|"grpc-status":"4"/;

/** An intake that makes durable calls wait for a gate. */
class GatedIntake implements EventIntake {
  readonly begun: Gate = makeGate();
  readonly release: Gate = makeGate();
  isClosed = false;

  push(): Batch {
    if (this.isClosed) {
      throw new IntakeClosedError();
    }
    return new Batch();
  }

  awaitDurable(_: Batch, waiter: BatchWaiter): void {
    this.begun.open();
    void this.release.opened.then(() => waiter());
  }
}

describe.each(PROTOCOLS)("a call by %s", (protocol) => {
  test("that waits is answered during a drain, and one that comes late is refused", async () => {
    const intake = new GatedIntake();
    await open(pushMethod(intake));
    const late = await RawConnection.open(port.port);
    await late.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    await late.receives("404");
    const waiting = await send(protocol, { ack: AckMode.DURABLE });
    await intake.begun.opened;

    intake.isClosed = true;
    const drained = port.server.drain(NEVER_MS);
    await late.send(
      http1Bytes({ ...pushesOf(EVENT).json, version: "1.1", host: ["x"], framing: "length" }).join(""),
    );
    await late.closed;
    expect(late.received).toMatch(/HTTP\/1\.1 503 [\s\S]*Connection: close[\s\S]*"code":"unavailable"/);

    intake.release.open();
    expect(await waiting.answer).toMatch(OK);
    await drained;
  });

  test("is refused once the intake is closed", async () => {
    const intake = new GatedIntake();
    await open(pushMethod(intake));
    intake.isClosed = true;
    const { answer } = await send(protocol, {});
    expect(await answer).toMatch(UNAVAILABLE);
  });

  test("for durability ends with DEADLINE_EXCEEDED when its time is over", async () => {
    await open(pushMethod(new FatefulIntake()));
    for (const timeoutMs of [0, 1, 20]) {
      const { answer } = await send(protocol, { item: FATE.neverDurable, ack: AckMode.DURABLE }, timeoutMs);
      expect(await answer).toMatch(DEADLINE_EXCEEDED);
    }
  });

  test("has its time when that is longer than a timer can be", async () => {
    await open(pushMethod(new FatefulIntake()));
    const { answer } = await send(protocol, { item: FATE.durableLater, ack: AckMode.DURABLE }, "endless");
    expect(await answer).toMatch(OK);
  });

  test("whose caller leaves is told so, and its late answer disturbs nobody", async () => {
    const begun = makeGate();
    const aborted = makeGate();
    const answered = makeGate();
    const wait = async (_request: unknown, call: CallContext) => {
      call.onAbandoned(aborted.open);
      begun.open();
      await aborted.opened;
      setImmediate(answered.open);
      return {};
    };
    await open(unaryMethod(StatsService.method.push, wait));
    const call = await send(protocol, {});
    await begun.opened;
    call.leave();
    await answered.opened;
    await call.answer;
  });

  test("whose caller leaves keeps no timer", async () => {
    const timers = () => process.getActiveResourcesInfo().filter((name) => name === "Timeout").length;
    const intake = new GatedIntake();
    await open(pushMethod(intake));
    const before = timers();
    const call = await send(protocol, { ack: AckMode.DURABLE }, NEVER_MS);
    await intake.begun.opened;
    await nextTurn();
    expect(timers()).toBe(before + 2);
    call.leave();
    await call.answer;
    while (timers() > before) {
      await nextTurn();
    }
  });
});

describe("what the handler sees of the caller", () => {
  test.each(PROTOCOLS)(
    "is its address, the same array for each call of a connection (%s)",
    async (protocol) => {
      const seen: Uint8Array[] = [];
      await open(
        unaryMethod(StatsService.method.push, (_request, { address }) => {
          seen.push(address);
          return {};
        }),
      );
      const { answer } = await send(protocol, {});
      expect(await answer).toMatch(OK);
      expect(seen).toEqual([Uint8Array.from([2, 32, 0, 4, 127, 0, 0, 1])]);
      const { proto } = pushesOf(EVENT);
      const session = connect(port.url);
      for (let i = 0; i < 2; i++) {
        const stream = session.request({
          ":method": "POST",
          ":path": proto.path,
          "content-type": "application/proto",
        });
        stream.end(proto.body);
        await buffer(stream);
      }
      session.close();
      expect(seen[2]).toBe(seen[1]);
    },
  );
});

/** A frame of HTTP/2 (RFC 9113, section 4.1), a character for each byte. */
function http2Frame(type: number, flags: number, streamId: number, payload: string): string {
  const head = Buffer.alloc(9);
  head.writeUIntBE(payload.length, 0, 3);
  head.writeUInt8(type, 3);
  head.writeUInt8(flags, 4);
  head.writeUInt32BE(streamId, 5);
  return head.toString("latin1") + payload;
}

/** Header fields as literals without indexing (RFC 7541, section 6.2.2). */
function hpack(fields: Readonly<Record<string, string>>): string {
  const text = (value: string) => String.fromCharCode(value.length) + value;
  return Object.entries(fields)
    .map(([name, value]) => `\0${text(name)}${text(value)}`)
    .join("");
}

describe("a stream that breaks off", () => {
  const { path, body } = pushesOf(EVENT).proto;
  const HEADERS = {
    ":method": "POST",
    ":scheme": "http",
    ":path": path,
    ":authority": "x",
    "content-type": "application/proto",
  };

  /** Sends a request but for the end of its body. */
  async function sendHalf(): Promise<RawConnection> {
    const client = await RawConnection.open(port.port);
    await client.send(
      "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" +
        http2Frame(4, 0, 0, "") +
        http2Frame(1, 4, 1, hpack(HEADERS)) +
        http2Frame(0, 0, 1, body.toString("latin1", 0, 6)),
    );
    return client;
  }

  /** Resolves when whatever the client has sent before has been seen to. */
  async function settle(client: RawConnection, ping: string): Promise<void> {
    await client.send(http2Frame(6, 0, 0, ping));
    await client.receives(http2Frame(6, 1, 0, ping));
    await nextTurn();
  }

  /** RST_STREAM with NO_ERROR. */
  const RESET = http2Frame(3, 0, 1, "\0\0\0\0");

  test("without an error is no call, though the half that came could be one", async () => {
    let calls = 0;
    await open(
      unaryMethod(StatsService.method.push, () => {
        calls += 1;
        return {};
      }),
    );
    const client = await sendHalf();
    await settle(client, "the half");
    expect(port.counts.taken).toBe(1);
    await client.send(RESET);
    await settle(client, "the end.");
    client.socket.destroy();
    expect(calls).toBe(0);
  });

  test("by saying nothing more is reset when its request has taken too long", async () => {
    await open(pushMethod(new FatefulIntake()), {
      headersTimeoutMs: 500,
      requestTimeoutMs: 500,
      sweepIntervalMs: 50,
    });
    const client = await sendHalf();
    // RST_STREAM with CANCEL.
    await client.receives(http2Frame(3, 0, 1, "\0\0\0\x08"));
    client.socket.destroy();
  });
});
