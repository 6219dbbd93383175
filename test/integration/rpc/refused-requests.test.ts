import { type ClientHttp2Session, connect } from "node:http2";
import { credentials, makeGenericClientConstructor, type ServiceError, status } from "@grpc/grpc-js";
import { authenticate } from "../../../src/rpc/authentication.js";
import { intercept } from "../../../src/rpc/unary-method.js";
import {
  DATA,
  END_HEADERS,
  END_STREAM,
  frame,
  HEADERS,
  headerBlock,
  PREFACE,
  readFrames,
  settings,
} from "../../attack/support/http2-frames.js";
import { FatefulIntake, type LanePort, openLanePort, pushMethod } from "../../support/lane-pair.js";
import { RawConnection } from "../../support/rpc-port.js";
import { EVENT, PUSH, pushesOf, type RpcRequest } from "../../support/rpc-requests.js";
import { exchangeHttp2 } from "../../support/wire-clients.js";

const LANES = ["fast", "stock"] as const;

describe.each(LANES)("a request that no method gets, on the %s lane", (lane) => {
  let port: LanePort;
  let session: ClientHttp2Session;
  beforeAll(async () => {
    port = await openLanePort([pushMethod(new FatefulIntake())], { hasFastLane: lane === "fast" });
    session = connect(port.url);
  });
  afterAll(async () => {
    session.destroy();
    await port.server.close();
  });

  const send = (method: string, path: string, contentType: string | undefined, body = "{}") => {
    const headers: RpcRequest["headers"] = contentType === undefined ? [] : [["content-type", contentType]];
    return exchangeHttp2(session, {
      method,
      path,
      headers,
      body: Buffer.from(method === "GET" ? "" : body),
      cuts: [],
    });
  };

  test.each([
    ["a wrong path", "POST", "/push", undefined, 404],
    ["a wrong path by GET", "GET", "/stats.v1.StatsService/Nope", undefined, 404],
    ["a method by GET", "GET", PUSH, undefined, 405],
    ["a body without a content type", "POST", PUSH, undefined, 415],
    ["a content type that is not known", "POST", PUSH, "application/x-www-form-urlencoded", 415],
  ])(
    "%s is answered by a sentence that says what to send",
    async (_name, method, path, contentType, code) => {
      const { headers, body } = await send(method, path, contentType);
      expect(headers?.[":status"]).toBe(code);
      expect(headers?.["content-type"]).toMatch(/^text\/plain/);
      expect(body).toMatch(/send .*"?content-type: application\/json/);
      expect(body.trimEnd()).not.toContain("\n");
    },
  );

  test("Connect is told of a wrong path by an error of its own", async () => {
    const { headers, body } = await send("POST", "/stats.v1.StatsService/Nope", "application/json");
    expect(headers?.[":status"]).toBe(404);
    expect(JSON.parse(body)).toMatchObject({
      code: "unimplemented",
      message: expect.stringContaining("send POST"),
    });
  });

  test.each(["application/grpc", "application/grpc+proto", "application/grpc-web+proto"])(
    "a method that is not known has the status UNIMPLEMENTED over HTTP 200, as %s",
    async (contentType) => {
      const { headers } = await send("POST", "/stats.v1.StatsService/Nope", contentType);
      expect(headers).toMatchObject({ ":status": 200, "grpc-status": "12" });
    },
  );

  test("grpc-js is told that a method is not known", async () => {
    const identity = (bytes: Buffer) => bytes;
    const method = {
      path: "/stats.v1.StatsService/Nope",
      requestStream: false,
      responseStream: false,
      requestSerialize: identity,
      requestDeserialize: identity,
      responseSerialize: identity,
      responseDeserialize: identity,
    };
    const Client = makeGenericClientConstructor({ nope: method }, "nope");
    const client = new Client(`127.0.0.1:${port.port}`, credentials.createInsecure());
    const error = await new Promise<ServiceError>((resolve) => {
      client.makeUnaryRequest(method.path, identity, identity, Buffer.alloc(0), (fault) =>
        resolve(fault as ServiceError),
      );
    });
    expect(error).toMatchObject({ code: status.UNIMPLEMENTED, details: "there is no such method" });
    client.close();
  });
});

describe.each(LANES)("a header that comes twice over HTTP/2, on the %s lane", (lane) => {
  /** What comes back for a push with these fields, headers apart. */
  async function push(...fields: readonly (readonly [string, string])[]): Promise<string> {
    const tokens = {
      identify: (header: string | undefined) =>
        header === "Bearer good"
          ? { id: "1", name: "x", may: new Set(["push" as const]), properties: undefined }
          : undefined,
    };
    const method = intercept(pushMethod(new FatefulIntake()), [authenticate(tokens)]);
    const port = await openLanePort([method], { hasFastLane: lane === "fast" });
    const client = await RawConnection.open(port.port);
    const all = [[":method", "POST"], [":scheme", "http"], [":path", PUSH], [":authority", "x"], ...fields];
    const block = Buffer.concat(all.map(([name = "", value = ""]) => headerBlock({ [name]: value })));
    const bytes = [
      PREFACE,
      settings(),
      frame(HEADERS, END_HEADERS, 1, block),
      frame(DATA, END_STREAM, 1, pushesOf(EVENT).json.body),
    ];
    await client.send(Buffer.concat(bytes).toString("latin1"));
    const answer: string[] = [];
    while (answer.length === 0) {
      await client.receives("}");
      readFrames(Buffer.from(client.received, "latin1"), ({ type, payload }) => {
        if (type === DATA) {
          answer.push(payload.toString("latin1"));
        }
      });
    }
    client.socket.destroy();
    await port.server.close();
    return answer.join("");
  }

  const json = ["content-type", "application/json"] as const;

  test("authorization once is taken", async () => {
    expect(await push(json, ["authorization", "Bearer good"])).toBe("{}");
  });

  test.each([
    ["Bearer good", "Bearer bad"],
    ["Bearer bad", "Bearer good"],
    ["Bearer good", "Bearer good"],
  ])("authorization is refused: %s and %s", async (first, second) => {
    const answer = await push(json, ["authorization", first], ["authorization", second]);
    expect(answer).toMatch(/unauthenticated/);
  });

  test.each([
    ["connect-timeout-ms", "1000", "2000", /invalid_argument/],
    ["content-encoding", "identity", "identity", /unimplemented/],
  ])("%s is refused", async (name, first, second, refusal) => {
    const answer = await push(json, ["authorization", "Bearer good"], [name, first], [name, second]);
    expect(answer).toMatch(refusal);
  });
});
