import { create } from "@bufbuild/protobuf";
import { Code, ConnectError, createClient } from "@connectrpc/connect";
import { createConnectTransport, createGrpcTransport } from "@connectrpc/connect-node";
import { PushRequestSchema, StatsService } from "../../../gen/stats/v1/stats_pb.js";
import { intercept, type UnaryInterceptor } from "../../../src/rpc/unary-method.js";
import { FatefulIntake, type LanePort, openLanePort, pushMethod } from "../../support/lane-pair.js";
import { EVENT } from "../../support/rpc-requests.js";

const PROTOCOLS = ["connect over http/1.1", "connect over http/2", "grpc"] as const;
const LANES = ["fast", "stock"] as const;

let port: LanePort | undefined;
afterEach(() => port?.server.close());

/** A client of Push behind `interceptors`. */
async function open(
  lane: (typeof LANES)[number],
  protocol: (typeof PROTOCOLS)[number],
  interceptors: readonly UnaryInterceptor[],
) {
  const method = intercept(pushMethod(new FatefulIntake()), interceptors);
  port = await openLanePort([method], { hasFastLane: lane === "fast" });
  const baseUrl = port.url;
  const transport =
    protocol === "grpc"
      ? createGrpcTransport({ baseUrl })
      : createConnectTransport({ baseUrl, httpVersion: protocol.endsWith("1.1") ? "1.1" : "2" });
  return createClient(StatsService, transport);
}

describe.each(LANES)("an interceptor on the %s lane", (lane) => {
  test.each(PROTOCOLS)("sees the headers of a call by %s, the outermost first", async (protocol) => {
    const seen: string[] = [];
    const noting =
      (name: string): UnaryInterceptor =>
      (next, method) =>
      (request, call) => {
        seen.push(`${name} ${method.name} ${call.header("x-team")} ${call.header("x-absent")}`);
        return next(request, call);
      };
    const client = await open(lane, protocol, [noting("outer"), noting("inner")]);
    await client.push(create(PushRequestSchema, EVENT), { headers: { "x-team": "blue" } });
    expect(seen).toEqual(["outer Push blue undefined", "inner Push blue undefined"]);
  });

  test.each(PROTOCOLS)("refuses a call by %s before the handler sees it", async (protocol) => {
    let calls = 0;
    const counting: UnaryInterceptor = (next) => (request, call) => {
      calls += 1;
      return next(request, call);
    };
    const refusing: UnaryInterceptor = () => () => {
      throw new ConnectError("not you", Code.PermissionDenied);
    };
    const client = await open(lane, protocol, [refusing, counting]);
    const error = await client
      .push(create(PushRequestSchema, EVENT))
      .catch((cause: unknown) => ConnectError.from(cause));
    expect(error).toMatchObject({ code: Code.PermissionDenied, rawMessage: "not you" });
    expect(calls).toBe(0);
  });
});
