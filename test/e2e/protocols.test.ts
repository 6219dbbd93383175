import { execFile } from "node:child_process";
import { join } from "node:path";
import { promisify } from "node:util";
import { createClient, type Transport } from "@connectrpc/connect";
import {
  createConnectTransport,
  createGrpcTransport,
  createGrpcWebTransport,
} from "@connectrpc/connect-node";
import { credentials, loadPackageDefinition, type ServiceError, status } from "@grpc/grpc-js";
import { loadSync } from "@grpc/proto-loader";
import { ServerReflection } from "../../gen/grpc/reflection/v1/reflection_pb.js";
import { StatsService } from "../../gen/stats/v1/stats_pb.js";
import type { TestDatabase } from "../support/database.js";
import { newEventId } from "../support/pushes.js";
import { makeGate } from "../support/rpc-port.js";
import { ServiceProcess } from "../support/service-process.js";
import { createServiceDatabase } from "../support/stats-database.js";

const ROOT = join(import.meta.dirname, "../..");
const BUF = join(ROOT, "node_modules/.bin/buf");
const run = promisify(execFile);

let database: TestDatabase;
let service: ServiceProcess;

beforeAll(async () => {
  database = await createServiceDatabase();
  service = await ServiceProcess.start({ DATABASE_URL: database.url, FLUSH_INTERVAL_MS: "50" });
});

afterAll(async () => {
  await service[Symbol.asyncDispose]();
  await database.close();
});

/** Pushes durably, so that the row is there when this returns, and reads it back. */
async function rowAfter(
  push: (eventId: string) => Promise<unknown>,
): Promise<Record<string, unknown> | undefined> {
  const eventId = newEventId();
  await push(eventId);
  const { rows } = await database.pool.query(
    "SELECT property, property_section, property_id, host(remote_ip) AS ip FROM incoming WHERE id = $1",
    [eventId],
  );
  return rows[0] as Record<string, unknown> | undefined;
}

const PUSHED = { property: "news", property_section: "3", property_id: "42", ip: "127.0.0.1" };

describe("connect-node's client", () => {
  const transports: [string, () => Transport][] = [
    ["Connect over HTTP/1.1", () => createConnectTransport({ baseUrl: service.url, httpVersion: "1.1" })],
    ["Connect over HTTP/2", () => createConnectTransport({ baseUrl: service.url, httpVersion: "2" })],
    [
      "Connect JSON over HTTP/2",
      () => createConnectTransport({ baseUrl: service.url, httpVersion: "2", useBinaryFormat: false }),
    ],
    ["gRPC", () => createGrpcTransport({ baseUrl: service.url })],
    ["gRPC-Web over HTTP/1.1", () => createGrpcWebTransport({ baseUrl: service.url, httpVersion: "1.1" })],
    ["gRPC-Web over HTTP/2", () => createGrpcWebTransport({ baseUrl: service.url, httpVersion: "2" })],
  ];

  test.each(transports)("pushes by %s", async (_name, transport) => {
    const client = createClient(StatsService, transport());
    const row = await rowAfter((eventId) =>
      client.push({ property: "news", section: 3, item: 42, eventId, ack: 2 }),
    );
    expect(row).toEqual(PUSHED);
  });
});

describe("grpc-js's client", () => {
  interface PushClient {
    push(request: object, callback: (error: ServiceError | null, response: unknown) => void): void;
    close(): void;
  }

  function withClient<T>(work: (push: (request: object) => Promise<unknown>) => Promise<T>): Promise<T> {
    const definition = loadPackageDefinition(
      loadSync(join(ROOT, "proto/stats/v1/stats.proto"), { enums: String }),
    );
    const { v1 } = definition.stats as unknown as {
      v1: {
        StatsService: new (address: string, c: ReturnType<typeof credentials.createInsecure>) => PushClient;
      };
    };
    const client = new v1.StatsService(`127.0.0.1:${service.port}`, credentials.createInsecure());
    const push = (request: object) =>
      new Promise((resolve, reject) => {
        client.push(request, (error, response) => (error ? reject(error) : resolve(response)));
      });
    return work(push).finally(() => client.close());
  }

  test("pushes", async () => {
    const row = await withClient((push) =>
      rowAfter((eventId) =>
        push({ property: "news", section: 3, item: 42, eventId, ack: "ACK_MODE_DURABLE" }),
      ),
    );
    expect(row).toEqual(PUSHED);
  });

  test("gets INVALID_ARGUMENT with google.rpc.BadRequest in the status details", async () => {
    await withClient(async (push) => {
      const error = (await push({ property: "", section: 0, item: 0 }).catch(
        (reason: unknown) => reason,
      )) as ServiceError;
      expect(error.code).toBe(status.INVALID_ARGUMENT);
      const details = Buffer.concat(
        error.metadata.get("grpc-status-details-bin").map((part) => Buffer.from(part)),
      );
      expect(details.toString("latin1")).toContain("type.googleapis.com/google.rpc.BadRequest");
    });
  });
});

describe("buf curl", () => {
  test.each(["connect", "grpc", "grpcweb"])(
    "pushes by %s, finding the method by reflection",
    async (protocol) => {
      const row = await rowAfter((eventId) =>
        run(BUF, [
          "curl",
          "--http2-prior-knowledge",
          "--protocol",
          protocol,
          "--data",
          JSON.stringify({
            property: "news",
            section: 3,
            id: 42,
            event_id: eventId,
            ack: "ACK_MODE_DURABLE",
          }),
          `${service.url}/stats.v1.StatsService/Push`,
        ]),
      );
      expect(row).toEqual(PUSHED);
    },
  );

  test.each(["", "stats.v1.StatsService"])("finds the health of %p SERVING", async (name) => {
    const { stdout } = await run(BUF, [
      "curl",
      "--http2-prior-knowledge",
      "--protocol",
      "grpc",
      "--data",
      JSON.stringify({ service: name }),
      `${service.url}/grpc.health.v1.Health/Check`,
    ]);
    expect(JSON.parse(stdout)).toEqual({ status: "SERVING" });
  });
});

/** As many as a connection may have; Node warns of leaks from eleven listeners on. */
const MOST_STREAMS = 16;

test("as many reflection streams as a connection may have leave no warning on standard error", async () => {
  await using other = await ServiceProcess.start({ DATABASE_URL: database.url });
  const client = createClient(ServerReflection, createGrpcTransport({ baseUrl: other.url }));
  const leave = makeGate();
  async function* questions() {
    yield { messageRequest: { case: "listServices" as const, value: "" } };
    await leave.opened;
  }
  const streams = Array.from({ length: MOST_STREAMS }, () =>
    client.serverReflectionInfo(questions())[Symbol.asyncIterator](),
  );
  await Promise.all(streams.map((answers) => answers.next()));
  const stopped = other.stop();
  const ends = await Promise.allSettled(streams.map((answers) => answers.next()));
  leave.open();
  expect(ends.map(({ status }) => status)).toEqual(streams.map(() => "rejected"));
  expect(await stopped).toEqual({ status: 0, signal: null });
  expect(other.stderr).toBe("");
});
