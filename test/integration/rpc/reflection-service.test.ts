import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { Code, createClient } from "@connectrpc/connect";
import { connectNodeAdapter, createGrpcTransport } from "@connectrpc/connect-node";
import { file_google_rpc_error_details } from "../../../gen/google/rpc/error_details_pb.js";
import { ServerReflection as ServerReflectionV1 } from "../../../gen/grpc/reflection/v1/reflection_pb.js";
import { ServerReflection as ServerReflectionV1alpha } from "../../../gen/grpc/reflection/v1alpha/reflection_pb.js";
import { Health as HealthService } from "../../../gen/health/v1/health_pb.js";
import { StatsService } from "../../../gen/stats/v1/stats_pb.js";
import { healthRoutes } from "../../../src/rpc/health-service.js";
import { reflectionRoutes } from "../../../src/rpc/reflection-service.js";
import { Health } from "../../../src/server/health.js";
import { makeGate, openRpcPort, type RpcPort } from "../../support/rpc-port.js";

const run = promisify(execFile);

let rpc: RpcPort;
let health: Health;
let stopping: AbortController;

beforeEach(async () => {
  health = new Health();
  stopping = new AbortController();
  rpc = await openRpcPort(
    connectNodeAdapter({
      routes: (router) => {
        healthRoutes(router, { health, services: [] });
        reflectionRoutes(router, {
          services: [StatsService, HealthService],
          files: [file_google_rpc_error_details],
          stopping: stopping.signal,
        });
      },
    }),
    { sweepIntervalMs: 20 },
  );
});

afterEach(() => rpc.server.close());

describe.each([
  ["v1", ServerReflectionV1],
  ["v1alpha", ServerReflectionV1alpha],
])("grpc.reflection.%s", (version, service) => {
  it("answers the questions of one stream in order", async () => {
    const client = createClient(
      service as typeof ServerReflectionV1,
      createGrpcTransport({ baseUrl: rpc.url }),
    );
    async function* questions() {
      yield { host: "here", messageRequest: { case: "listServices" as const, value: "" } };
      yield {
        messageRequest: { case: "fileContainingSymbol" as const, value: "stats.v1.StatsService.Push" },
      };
      yield { messageRequest: { case: "fileByFilename" as const, value: "missing.proto" } };
    }
    const answers = [];
    for await (const answer of client.serverReflectionInfo(questions())) {
      answers.push(answer);
    }
    expect(answers.map((answer) => answer.messageResponse.case)).toEqual([
      "listServicesResponse",
      "fileDescriptorResponse",
      "errorResponse",
    ]);
    expect(answers[0]).toMatchObject({
      validHost: "here",
      originalRequest: { host: "here", messageRequest: { case: "listServices" } },
      messageResponse: {
        value: {
          service: expect.arrayContaining([
            expect.objectContaining({ name: `grpc.reflection.${version}.ServerReflection` }),
          ]),
        },
      },
    });
  });
});

describe("an open reflection stream", () => {
  it("ends with UNAVAILABLE when the server stops, and does not hold up the drain, whatever its client does", async () => {
    const client = createClient(ServerReflectionV1, createGrpcTransport({ baseUrl: rpc.url }));
    const leave = makeGate();
    async function* questions() {
      yield { messageRequest: { case: "listServices" as const, value: "" } };
      await leave.opened;
    }
    const answers = client.serverReflectionInfo(questions())[Symbol.asyncIterator]();
    await answers.next();
    const drained = rpc.server.drain(60_000);
    stopping.abort();
    await expect(answers.next()).rejects.toMatchObject({ code: Code.Unavailable });
    await drained;
    leave.open();
  });
});

describe("buf curl", () => {
  it.each(["connect", "grpc", "grpcweb"])("calls by reflection over %s", async (protocol) => {
    health.setServing();
    const { stdout } = await run("node_modules/.bin/buf", [
      "curl",
      "--protocol",
      protocol,
      "--http2-prior-knowledge",
      "--data",
      "{}",
      `${rpc.url}/grpc.health.v1.Health/Check`,
    ]);
    expect(JSON.parse(stdout)).toEqual({ status: "SERVING" });
  });
});
