import { once } from "node:events";
import { connect } from "node:http2";
import { Code, ConnectError, createClient } from "@connectrpc/connect";
import {
  createConnectTransport,
  createGrpcTransport,
  createGrpcWebTransport,
} from "@connectrpc/connect-node";
import { AckMode, StatsService } from "../../../gen/stats/v1/stats_pb.js";
import { createRpcDispatcher } from "../../../src/rpc/stock-lane.js";
import { routeUnaryMethod } from "../../../src/rpc/unary-method.js";
import type { CallerAddress } from "../../../src/server/caller-address.js";
import { RpcServer } from "../../../src/server/rpc-server.js";
import { FATE, FatefulIntake, pushMethod } from "../../support/lane-pair.js";
import { silent } from "../../support/rpc-port.js";

const MAX_CALLS = 4;
const EVENT = { property: "news", section: 1, item: FATE.ok };
const ENDLESS = { property: "news", section: 1, item: FATE.neverDurable, ack: AckMode.DURABLE };

/** As a trusted proxy would tell it. */
const addressOf: CallerAddress = (_connection, headers) => Buffer.from(String(headers["x-address"] ?? ""));

let server: RpcServer;
let url: string;
let unhandled: string[];
let arrived: number;
beforeEach(async () => {
  unhandled = [];
  arrived = 0;
  const method = pushMethod(new FatefulIntake());
  const handler = createRpcDispatcher({
    routes: (router) => routeUnaryMethod(router, method),
    logger: silent,
    onUnhandled: (reason) => unhandled.push(reason),
    callerAddress: addressOf,
    maxCalls: MAX_CALLS,
  });
  server = new RpcServer({
    host: "127.0.0.1",
    port: 0,
    handler: (req, res) => {
      handler(req, res);
      arrived += 1;
    },
    logger: silent,
  });
  url = `http://127.0.0.1:${(await server.listen()).port}`;
});
afterEach(() => server.drain(0));

const transports = {
  "Connect over HTTP/1.1": () => createConnectTransport({ baseUrl: url, httpVersion: "1.1" }),
  "Connect over HTTP/2": () => createConnectTransport({ baseUrl: url, httpVersion: "2" }),
  gRPC: () => createGrpcTransport({ baseUrl: url }),
  "gRPC-Web": () => createGrpcWebTransport({ baseUrl: url, httpVersion: "1.1" }),
};

/** Takes all the calls that one address may have open; `leave` ends them. */
async function hold(address: string): Promise<{ leave: () => Promise<void> }> {
  const client = createClient(StatsService, createGrpcTransport({ baseUrl: url }));
  const controller = new AbortController();
  const { signal } = controller;
  const calls = Array.from({ length: MAX_CALLS / 2 }, () =>
    client.push(ENDLESS, { signal, headers: { "x-address": address } }).catch((error: unknown) => error),
  );
  while (arrived < MAX_CALLS / 2) {
    await new Promise((resolve) => setImmediate(resolve));
  }
  return {
    leave: async () => {
      controller.abort();
      await Promise.all(calls);
    },
  };
}

describe.each(Object.entries(transports))("over %s", (_name, connect) => {
  test("who has as many calls open as are free is told to come back, and others are answered", async () => {
    const client = createClient(StatsService, connect());
    const holder = await hold("a");
    const refused = client.push(EVENT, { headers: { "x-address": "a" } });
    expect(ConnectError.from(await refused.catch((error: unknown) => error)).code).toBe(Code.Unavailable);
    expect(unhandled).toEqual(["too_many_calls"]);

    await client.push(EVENT, { headers: { "x-address": "b" } });
    await holder.leave();
  });
});

test("calls that have ended make room for others of the same address", async () => {
  const holder = await hold("a");
  await holder.leave();
  const client = createClient(StatsService, transports.gRPC());
  let answer: unknown;
  while (answer === undefined || answer instanceof ConnectError) {
    answer = await client.push(EVENT, { headers: { "x-address": "a" } }).catch((error: unknown) => error);
  }
});

test("what is still sent of a message that was refused is read, so that its stream ends", async () => {
  const session = connect(url);
  await once(session, "remoteSettings");
  const headers = {
    ":method": "POST",
    ":path": "/stats.v1.StatsService/Push",
    "content-type": "application/grpc",
  };
  const tooLong = Buffer.concat([Buffer.from([0, 0x10, 0, 0, 0]), Buffer.alloc(200_000)]);
  for (let n = 0; n < 10; n++) {
    const stream = session.request(headers);
    stream.resume().write(tooLong);
    const [trailers] = await once(stream, "trailers");
    expect(trailers["grpc-status"]).toBe(String(Code.ResourceExhausted));
    stream.end();
    await once(stream, "close");
  }
  session.destroy();
});
