import { type IncomingHttpHeaders, request } from "node:http";
import { connect } from "node:http2";
import { pino } from "pino";
import type { RefusesByHeader } from "../../../src/rpc/authentication.js";
import { createFastLane } from "../../../src/rpc/fast-lane/fast-lane.js";
import { createRpcDispatcher, type UnhandledReason } from "../../../src/rpc/stock-lane.js";
import { routeUnaryMethod } from "../../../src/rpc/unary-method.js";
import { RpcServer } from "../../../src/server/rpc-server.js";
import { FatefulIntake, pushMethod } from "../../support/lane-pair.js";
import { silent } from "../../support/rpc-port.js";

const PUSH = "/stats.v1.StatsService/Push";
const EVENT = '{"property":"news","section":1,"id":1}';
const JSON_TYPE = { "content-type": "application/json" };
const GRPC_TYPE = { "content-type": "application/grpc", te: "trailers" };

let server: RpcServer | undefined;
afterEach(() => server?.close());

async function open(
  hasFastLane: boolean,
  refusesByHeader?: RefusesByHeader,
): Promise<{ url: string; unhandled: UnhandledReason[]; log: Record<string, unknown>[] }> {
  const unhandled: UnhandledReason[] = [];
  const log: Record<string, unknown>[] = [];
  const logger = pino(
    { level: "debug", base: null, timestamp: false },
    { write: (line) => log.push(JSON.parse(line)) },
  );
  const method = pushMethod(new FatefulIntake());
  const stock = createRpcDispatcher({
    routes: (router) => routeUnaryMethod(router, method),
    logger,
    onUnhandled: (reason) => unhandled.push(reason),
    refusesByHeader,
  });
  const fastLane = createFastLane({ methods: [method], stock, logger: silent, refusesByHeader });
  server = new RpcServer({
    host: "127.0.0.1",
    port: 0,
    handler: stock,
    logger: silent,
    ...(hasFastLane && { fastLane }),
  });
  const { port } = await server.listen();
  return { url: `http://127.0.0.1:${port}`, unhandled, log };
}

/** Resolves when the answer has come. */
function post(url: string, path: string, headers: IncomingHttpHeaders, body: string | Buffer): Promise<void> {
  return new Promise((resolve, reject) => {
    const call = request(`${url}${path}`, { method: "POST", headers }, (response) => {
      response.on("end", resolve).resume();
    });
    call.on("error", reject).end(body);
  });
}

/** The status of the answer to a push with this very target. */
function answerTo(url: string, target: string): Promise<number | undefined> {
  return new Promise((resolve, reject) => {
    const call = request(url, { method: "POST", path: target, headers: JSON_TYPE }, (response) => {
      response.on("end", () => resolve(response.statusCode)).resume();
    });
    call.on("error", reject).end(EVENT);
  });
}

async function postHttp2(
  url: string,
  path: string,
  headers: IncomingHttpHeaders,
  body: Buffer,
): Promise<void> {
  const session = connect(url);
  try {
    await new Promise<void>((resolve, reject) => {
      const stream = session.request({ ...headers, ":method": "POST", ":path": path });
      stream.on("end", resolve).on("error", reject).resume().end(body);
    });
  } finally {
    session.destroy();
  }
}

describe.each([
  ["with", true],
  ["without", false],
])("requests that no method sees, %s the fast lane", (_, hasFastLane) => {
  it("counts bodies that are no message as malformed, by whichever protocol they come", async () => {
    const { url, unhandled } = await open(hasFastLane);
    await post(url, PUSH, JSON_TYPE, '{"property":');
    await post(url, PUSH, { "content-type": "application/proto" }, Buffer.from([0xff, 0xff]));
    await post(url, PUSH, { ...JSON_TYPE, "content-encoding": "no-such" }, EVENT);
    await postHttp2(url, PUSH, GRPC_TYPE, Buffer.from([0, 0, 0, 0, 2, 0xff, 0xff]));
    expect(unhandled).toEqual(["malformed", "malformed", "malformed", "malformed"]);
  });

  it("counts those that are refused by their header as unauthenticated", async () => {
    const { url, unhandled } = await open(
      hasFastLane,
      (_path, authorization) => authorization !== "Bearer me",
    );
    await post(url, PUSH, JSON_TYPE, EVENT);
    await postHttp2(url, PUSH, GRPC_TYPE, Buffer.from([0, 0, 0, 0, 0]));
    expect(unhandled).toEqual(["unauthenticated", "unauthenticated"]);
    await post(url, PUSH, { ...JSON_TYPE, authorization: "Bearer me" }, EVENT);
    expect(unhandled).toHaveLength(2);
  });

  it("counts a method that is not there as unknown", async () => {
    const { url, unhandled } = await open(hasFastLane);
    await post(url, "/stats.v1.StatsService/Pull", JSON_TYPE, EVENT);
    await postHttp2(url, "/no.Service/Push", GRPC_TYPE, Buffer.from([0, 0, 0, 0, 0]));
    expect(unhandled).toEqual(["unknown_method", "unknown_method"]);
  });

  it("logs each at debug, with its path and the reason, and nothing else of what was sent", async () => {
    const { url, log } = await open(hasFastLane);
    await post(
      url,
      `${PUSH}?access_token=secret`,
      { ...JSON_TYPE, authorization: "Bearer secret" },
      "secret",
    );
    await post(url, `/${"x".repeat(1_000)}`, JSON_TYPE, EVENT);
    const line = { level: 20, msg: "a request reached no method" };
    expect(log).toEqual([
      { ...line, path: PUSH, reason: "malformed" },
      { ...line, path: `/${"x".repeat(99)}`, reason: "unknown_method" },
    ]);
  });

  it("does not count what a method refuses or answers", async () => {
    const { url, unhandled } = await open(hasFastLane);
    await post(url, PUSH, JSON_TYPE, EVENT);
    await post(url, PUSH, JSON_TYPE, "{}");
    await post(url, PUSH, { "content-type": "application/json; charset=UTF-8" }, EVENT);
    expect(unhandled).toEqual([]);
  });

  it("finds the method of a target that is a whole URL", async () => {
    const { url, unhandled } = await open(hasFastLane);
    for (const target of [`${url}${PUSH}`, `HTTP://elsewhere${PUSH}?x=http://y/z`]) {
      expect(await answerTo(url, target)).toBe(200);
    }
    for (const target of [url, `ftp://elsewhere${PUSH}`, `http://${PUSH}`]) {
      expect(await answerTo(url, target)).toBe(404);
    }
    expect(unhandled).toEqual(["unknown_method", "unknown_method", "unknown_method"]);
  });
});
