import { create } from "@bufbuild/protobuf";
import { Code, ConnectError, createClient } from "@connectrpc/connect";
import { createConnectTransport, createGrpcTransport } from "@connectrpc/connect-node";
import { PushRequestSchema, StatsService } from "../../../gen/stats/v1/stats_pb.js";
import type { Caller } from "../../../src/auth/caller.js";
import { authenticate } from "../../../src/rpc/authentication.js";
import { intercept } from "../../../src/rpc/unary-method.js";
import { FatefulIntake, openLanePort, pushMethod } from "../../support/lane-pair.js";
import { EVENT } from "../../support/rpc-requests.js";

const PROTOCOLS = ["connect over http/1.1", "connect over http/2", "grpc"] as const;
const LANES = ["fast", "stock"] as const;

const CALLERS: Readonly<Record<string, Caller>> = {
  "Bearer any": { id: "1", name: "any", properties: undefined },
  "Bearer news": { id: "2", name: "news", properties: new Set(["news"]) },
};
const tokens = { identify: (header: string | undefined) => CALLERS[header ?? ""] };

describe.each(LANES)("a method behind tokens, on the %s lane", (lane) => {
  describe.each(PROTOCOLS)("by %s", (protocol) => {
    /** Pushes an event and resolves with the error, or undefined. */
    async function push(property: string, authorization?: string): Promise<ConnectError | undefined> {
      const method = intercept(pushMethod(new FatefulIntake()), [authenticate(tokens)]);
      const { server, url: baseUrl } = await openLanePort([method], { hasFastLane: lane === "fast" });
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
});
