import { once } from "node:events";
import { connect as connectHttp2 } from "node:http2";
import { Code, ConnectError, createClient } from "@connectrpc/connect";
import {
  connectNodeAdapter,
  createConnectTransport,
  createGrpcTransport,
  createGrpcWebTransport,
} from "@connectrpc/connect-node";
import * as grpc from "@grpc/grpc-js";
import { loadSync } from "@grpc/proto-loader";
import {
  HealthCheckResponse_ServingStatus,
  Health as HealthService,
} from "../../../gen/health/v1/health_pb.js";
import { createFastLane } from "../../../src/rpc/fast-lane/fast-lane.js";
import { healthRoutes } from "../../../src/rpc/health-service.js";
import { createRpcDispatcher } from "../../../src/rpc/stock-lane.js";
import { routeUnaryMethod } from "../../../src/rpc/unary-method.js";
import { Health } from "../../../src/server/health.js";
import { FatefulIntake, pushMethod } from "../../support/lane-pair.js";
import { makeGate, openRpcPort, type RpcPort, silent } from "../../support/rpc-port.js";
import { EVENT, frame, pushesOf } from "../../support/rpc-requests.js";
import { exchangeHttp2 } from "../../support/wire-clients.js";

const { SERVING, NOT_SERVING, SERVICE_UNKNOWN } = HealthCheckResponse_ServingStatus;
const SERVICE = "stats.v1.StatsService";

let rpc: RpcPort;
let health: Health;

beforeEach(async () => {
  health = new Health();
  rpc = await openRpcPort(
    connectNodeAdapter({ routes: (router) => healthRoutes(router, { health, services: [SERVICE] }) }),
  );
});

afterEach(async () => {
  await health.close();
  await rpc.server.close();
});

describe.each([
  ["Connect over HTTP/1.1", () => createConnectTransport({ baseUrl: rpc.url, httpVersion: "1.1" })],
  ["Connect over HTTP/2", () => createConnectTransport({ baseUrl: rpc.url, httpVersion: "2" })],
  ["gRPC", () => createGrpcTransport({ baseUrl: rpc.url })],
  ["gRPC-Web over HTTP/1.1", () => createGrpcWebTransport({ baseUrl: rpc.url, httpVersion: "1.1" })],
])("grpc.health.v1.Health over %s", (_name, makeTransport) => {
  it("checks the server and the service, and no other", async () => {
    const client = createClient(HealthService, makeTransport());
    expect((await client.check({})).status).toBe(NOT_SERVING);
    health.setServing();
    expect((await client.check({ service: "" })).status).toBe(SERVING);
    expect((await client.check({ service: SERVICE })).status).toBe(SERVING);
    const refusal = ConnectError.from(
      await client.check({ service: "other" }).catch((error: unknown) => error),
    );
    expect(refusal.code).toBe(Code.NotFound);
  });

  it("lists both", async () => {
    const client = createClient(HealthService, makeTransport());
    const { statuses } = await client.list({});
    expect(statuses).toMatchObject({ "": { status: NOT_SERVING }, [SERVICE]: { status: NOT_SERVING } });
  });

  it("watches each change, and ends with NOT_SERVING at the drain without delaying it", async () => {
    const client = createClient(HealthService, makeTransport());
    const seen: number[] = [];
    for await (const { status } of client.watch({ service: SERVICE })) {
      seen.push(status);
      if (seen.length === 1) {
        health.setServing();
      } else if (seen.length === 2) {
        void health.close();
      }
    }
    expect(seen).toEqual([NOT_SERVING, SERVING, NOT_SERVING]);
    await rpc.server.drain(60_000);
  });
});

describe("a watch of an unknown service", () => {
  it("is told so and stays open until the end", async () => {
    const client = createClient(HealthService, createGrpcTransport({ baseUrl: rpc.url }));
    const watch = client.watch({ service: "other" })[Symbol.asyncIterator]();
    expect((await watch.next()).value?.status).toBe(SERVICE_UNKNOWN);
    const end = watch.next();
    health.setServing();
    await health.close();
    expect((await end).done).toBe(true);
  });
});

describe("a client that vanishes while it watches", () => {
  it("leaves no watch behind", async () => {
    const ended = makeGate();
    const watched: Pick<Health, "readiness" | "watch"> = {
      readiness: () => health.readiness(),
      async *watch(signal) {
        try {
          yield* health.watch(signal);
        } finally {
          ended.open();
        }
      },
    };
    const other = await openRpcPort(
      connectNodeAdapter({ routes: (router) => healthRoutes(router, { health: watched, services: [] }) }),
    );
    const client = createClient(HealthService, createGrpcTransport({ baseUrl: other.url }));
    const leave = new AbortController();
    const watch = client.watch({}, { signal: leave.signal })[Symbol.asyncIterator]();
    await watch.next();
    leave.abort();
    await expect(watch.next()).rejects.toThrow();
    await ended.opened;
    await other.server.close();
  });
});

describe("grpc-js, which shares no code with the server", () => {
  interface GrpcHealthClient extends grpc.Client {
    check(
      request: { service: string },
      callback: (error: grpc.ServiceError | null, response?: { status: string }) => void,
    ): void;
    watch(request: { service: string }): grpc.ClientReadableStream<{ status: string }>;
  }

  function open(): GrpcHealthClient {
    const definition = loadSync("health/v1/health.proto", {
      includeDirs: ["node_modules/grpc-health-check/proto"],
      enums: String,
    });
    const { Health: Client } = (
      grpc.loadPackageDefinition(definition) as unknown as {
        grpc: { health: { v1: { Health: grpc.ServiceClientConstructor } } };
      }
    ).grpc.health.v1;
    if (Client === undefined) {
      throw new Error("the definition has no Health service");
    }
    const insecure = grpc.credentials.createInsecure();
    return new Client(`127.0.0.1:${rpc.port}`, insecure) as unknown as GrpcHealthClient;
  }

  function check(client: GrpcHealthClient, service: string): Promise<string | undefined> {
    return new Promise((resolve, reject) => {
      client.check({ service }, (error, response) => (error ? reject(error) : resolve(response?.status)));
    });
  }

  it("checks", async () => {
    const client = open();
    expect(await check(client, SERVICE)).toBe("NOT_SERVING");
    health.setServing();
    expect(await check(client, "")).toBe("SERVING");
    await expect(check(client, "other")).rejects.toMatchObject({ code: grpc.status.NOT_FOUND });
    client.close();
  });

  it("watches, and gets NOT_SERVING and status OK when the server drains", async () => {
    health.setServing();
    const client = open();
    const watch = client.watch({ service: "" });
    const seen: string[] = [];
    watch.on("data", ({ status }: { status: string }) => seen.push(status));
    const status = once(watch, "status");
    await once(watch, "data");
    const drained = rpc.server.drain(60_000);
    await health.close();
    expect((await status)[0]).toMatchObject({ code: grpc.status.OK });
    expect(seen).toEqual(["SERVING", "NOT_SERVING"]);
    await drained;
    client.close();
  });
});

describe.each(["gRPC", "Connect"] as const)("calls that stream over one connection, by %s", (protocol) => {
  test("leave room for pushes, however many are opened", async () => {
    const health = new Health();
    const method = pushMethod(new FatefulIntake());
    const stock = createRpcDispatcher({
      routes: (router) => {
        routeUnaryMethod(router, method);
        healthRoutes(router, { health, services: [SERVICE] });
      },
      logger: silent,
    });
    const port = await openRpcPort(stock, {}, createFastLane({ methods: [method], stock, logger: silent }));
    const session = connectHttp2(port.url);
    const contentType = protocol === "gRPC" ? "application/grpc" : "application/connect+proto";
    const watches = Array.from({ length: 128 }, () => {
      const stream = session.request({
        ":method": "POST",
        ":path": "/grpc.health.v1.Health/Watch",
        "content-type": contentType,
      });
      stream.on("error", () => {});
      stream.end(frame(Buffer.alloc(0)));
      return stream.resume();
    });
    const statuses = await Promise.all(
      watches.map(async (watch) => (await once(watch, "response"))[0][":status"] as number),
    );
    expect(statuses.filter((status) => status === 200).length).toBeGreaterThan(0);
    // The others are told that there is no room, and end.
    expect(new Set(statuses)).toEqual(new Set([200, 503]));
    const { headers } = await exchangeHttp2(session, pushesOf(EVENT).json);
    expect(headers?.[":status"]).toBe(200);
    session.destroy();
    await health.close();
    await port.server.close();
  });
});
