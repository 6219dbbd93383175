import { create } from "@bufbuild/protobuf";
import { Code, ConnectError, createClient } from "@connectrpc/connect";
import { createConnectTransport, createGrpcTransport } from "@connectrpc/connect-node";
import { PushRequestSchema, StatsService } from "../../../gen/stats/v1/stats_pb.js";
import type { Caller } from "../../../src/auth/token-store.js";
import { authenticate, refusesUnknown } from "../../../src/rpc/authentication.js";
import { BodyLimits } from "../../../src/rpc/limits.js";
import { intercept } from "../../../src/rpc/unary-method.js";
import { FatefulIntake, type LanePort, openLanePort, pushMethod } from "../../support/lane-pair.js";
import { RawConnection } from "../../support/rpc-port.js";
import { EVENT, frame, pushOf } from "../../support/rpc-requests.js";
import { exchangeHttp2, withSession } from "../../support/wire-clients.js";

const PROTOCOLS = ["connect over http/1.1", "connect over http/2", "grpc"] as const;
const LANES = ["fast", "stock"] as const;

const CALLERS: Readonly<Record<string, Caller>> = {
  "Bearer any": { id: "1", name: "any", may: new Set(["push"]), properties: undefined },
  "Bearer news": { id: "2", name: "news", may: new Set(["push"]), properties: new Set(["news"]) },
};
const tokens = { identify: (header: string | undefined) => CALLERS[header ?? ""] };

function openPort(lane: (typeof LANES)[number], bodyLimits = new BodyLimits()): Promise<LanePort> {
  const method = intercept(pushMethod(new FatefulIntake()), [authenticate(tokens)]);
  const refusesByHeader = refusesUnknown(tokens, [method]);
  return openLanePort([method], { hasFastLane: lane === "fast", bodyLimits, refusesByHeader });
}

describe.each(LANES)("a method behind tokens, on the %s lane", (lane) => {
  describe.each(PROTOCOLS)("by %s", (protocol) => {
    /** Pushes an event and resolves with the error, or undefined. */
    async function push(property: string, authorization?: string): Promise<ConnectError | undefined> {
      const { server, url: baseUrl } = await openPort(lane);
      await using _server = server;
      const transport =
        protocol === "grpc"
          ? createGrpcTransport({ baseUrl })
          : createConnectTransport({ baseUrl, httpVersion: protocol.endsWith("1.1") ? "1.1" : "2" });
      const headers = new Headers(authorization === undefined ? {} : { authorization });
      return await createClient(StatsService, transport)
        .push(create(PushRequestSchema, { ...EVENT, property }), { headers })
        .then(
          () => undefined,
          (error: unknown) => ConnectError.from(error),
        );
    }

    it.each([undefined, "", "Bearer wrong", "Basic any"])(
      "refuses a call with the header %s, with one answer for all",
      async (authorization) => {
        const error = await push("news", authorization);
        expect(error).toMatchObject({
          code: Code.Unauthenticated,
          rawMessage: "a valid bearer token is required",
        });
        expect(error?.metadata.get("www-authenticate")).toBe("Bearer");
      },
    );

    it("takes what the token allows, and nothing else", async () => {
      expect(await push("shop", "Bearer any")).toBeUndefined();
      expect(await push("news", "Bearer news")).toBeUndefined();
      expect(await push("shop", "Bearer news")).toMatchObject({
        code: Code.PermissionDenied,
        rawMessage: "property: is not one of those that the token allows",
      });
    });

    it("says nothing of the property that it refuses, however long", async () => {
      const error = await push("x".repeat(100_000), "Bearer news");
      expect(error?.code).toBe(Code.PermissionDenied);
      expect(error?.rawMessage.length).toBeLessThan(100);
    });
  });

  describe("refuses a call without a token before its message has come, and keeps none of it,", () => {
    const half = " ".repeat(20_000);
    const halfBytes = Buffer.from(half);
    const limits = new BodyLimits();
    let port: LanePort;
    beforeEach(async () => {
      port = await openPort(lane, limits);
    });
    afterEach(() => port.server.close());

    test("by Connect over HTTP/1.1", async () => {
      const client = await RawConnection.open(port.port);
      const head =
        "POST /stats.v1.StatsService/Push HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n";
      await client.send(`${head}Content-Length: 40000\r\n\r\n${half}`);
      await client.receives('{"code":"unauthenticated","message":"a valid bearer token is required"}');
      expect(client.received).toMatch(/^HTTP\/1\.1 401 [\s\S]*^www-authenticate: Bearer\r$/im);
      expect(limits.usedBytes).toBe(0);
      // The connection is good for the next call, which has one.
      client.received = "";
      const event = JSON.stringify(EVENT);
      await client.send(
        `${half}${head}Authorization: Bearer any\r\nContent-Length: ${event.length}\r\n\r\n${event}`,
      );
      await client.receives("HTTP/1.1 200 OK");
      client.socket.destroy();
    });

    test("by Connect and gRPC over HTTP/2", async () => {
      await withSession(port.url, async (session) => {
        const connect = await exchangeHttp2(session, pushOf("application/json", halfBytes), false);
        expect(connect).toMatchObject({ headers: { ":status": 401, "www-authenticate": "Bearer" } });
        const grpc = await exchangeHttp2(
          session,
          pushOf("application/grpc", frame(halfBytes, 0, 40_000)),
          false,
        );
        expect(grpc.trailers).toMatchObject({ "grpc-status": "16", "www-authenticate": "Bearer" });
        expect(limits.usedBytes).toBe(0);
      });
    });
  });
});
