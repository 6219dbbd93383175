import { type OutgoingHttpHeaders, request as requestHttp1 } from "node:http";
import { connect } from "node:http2";
import { buffer } from "node:stream/consumers";
import type { TestDatabase } from "../support/database.js";
import { EVENT, frame, pushesOf } from "../support/rpc-requests.js";
import { ServiceProcess } from "../support/service-process.js";
import { createServiceDatabase } from "../support/stats-database.js";

const ORIGIN = "https://shop.example.com";
const PUSH = "/stats.v1.StatsService/Push";

let database: TestDatabase;
let service: ServiceProcess;
let openToAll: ServiceProcess;
let closed: ServiceProcess;
beforeAll(async () => {
  database = await createServiceDatabase();
  const start = (settings: Record<string, string>) =>
    ServiceProcess.start({ DATABASE_URL: database.url, ...settings });
  service = await start({ CORS_ORIGINS: `https://example.org, ${ORIGIN}` });
  openToAll = await start({ CORS_ORIGINS: "*" });
  closed = await start({});
});
afterAll(async () => {
  await Promise.all([service, openToAll, closed].map((each) => each.stop()));
  await database.close();
});

interface Answer {
  readonly status: number;
  readonly headers: Record<string, unknown>;
  readonly body: Buffer;
}

type Send = (url: string, method: string, headers: OutgoingHttpHeaders, body?: Buffer) => Promise<Answer>;

const sendHttp1: Send = (url, method, headers, body) =>
  new Promise((resolve, reject) => {
    const call = requestHttp1(url + PUSH, { method, headers }, (response) => {
      buffer(response).then(
        (bytes) =>
          resolve({ status: response.statusCode ?? 0, headers: { ...response.headers }, body: bytes }),
        reject,
      );
    });
    call.on("error", reject).end(body);
  });

const sendHttp2: Send = async (url, method, headers, body) => {
  const session = connect(url);
  try {
    const stream = session.request({ ...headers, ":method": method, ":path": PUSH });
    const head = new Promise<Record<string, unknown>>((resolve, reject) => {
      stream.once("response", (received) => resolve({ ...received }));
      stream.once("error", reject);
    });
    stream.end(body);
    const received = await head;
    return { status: Number(received[":status"]), headers: received, body: await buffer(stream) };
  } finally {
    session.close();
  }
};

/** The headers of an answer that CORS is about. */
function corsOf({ headers }: Answer): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(headers).filter(([name]) => /^(access-control-|vary$)/.test(name)),
  );
}

const json = { "content-type": "application/json" };
const allowed = {
  "access-control-allow-origin": ORIGIN,
  "access-control-expose-headers":
    "Grpc-Status,Grpc-Message,Grpc-Status-Details-Bin,Content-Encoding,Connect-Content-Encoding",
  vary: "Origin",
};

describe.each([
  ["HTTP/1.1", sendHttp1],
  ["HTTP/2", sendHttp2],
] as const)("over %s", (_name, send) => {
  const preflight = (origin: string, url = service.url) =>
    send(url, "OPTIONS", {
      origin,
      "access-control-request-method": "POST",
      "access-control-request-headers": "authorization,connect-protocol-version,content-type",
    });

  test("a preflight is told what scripts may send", async () => {
    const answer = await preflight(ORIGIN);
    expect(answer.status).toBe(204);
    expect(corsOf(answer)).toEqual({
      ...allowed,
      "access-control-allow-methods": "POST,GET",
      "access-control-allow-headers":
        "Content-Type,Connect-Protocol-Version,Connect-Timeout-Ms,Connect-Content-Encoding," +
        "Connect-Accept-Encoding,Content-Encoding,Accept-Encoding,Grpc-Message-Type,X-Grpc-Web,X-User-Agent," +
        "Grpc-Timeout,Authorization,Traceparent,Tracestate",
      "access-control-max-age": "7200",
    });
  });

  test("a preflight of another origin is told nothing of origins", async () => {
    const answer = await preflight("https://evil.example.com");
    expect(answer.headers).not.toHaveProperty("access-control-allow-origin");
    expect(answer.headers.vary).toBe("Origin");
  });

  test("scripts may read the answer to a push by Connect", async () => {
    const { body } = pushesOf(EVENT).json;
    const answer = await send(service.url, "POST", { ...json, origin: ORIGIN }, body);
    expect(answer.status).toBe(200);
    expect(answer.body.toString()).toBe("{}");
    expect(corsOf(answer)).toEqual(allowed);
  });

  test("scripts may read the answer to a push by gRPC-Web", async () => {
    const headers = { "content-type": "application/grpc-web+proto", "x-grpc-web": "1", origin: ORIGIN };
    const answer = await send(service.url, "POST", headers, frame(pushesOf(EVENT).proto.body));
    expect(answer.status).toBe(200);
    expect(answer.body.toString()).toContain("grpc-status: 0");
    expect(corsOf(answer)).toEqual(allowed);
  });

  test.each([
    ["an invalid event", json, "{}", 400],
    ["malformed JSON", json, "{", 400],
    ["a content type that is not known", { "content-type": "text/plain" }, "{}", 415],
  ])("scripts may read the error about %s", async (_case, headers, body, status) => {
    const answer = await send(service.url, "POST", { ...headers, origin: ORIGIN }, Buffer.from(body));
    expect(answer.status).toBe(status);
    expect(corsOf(answer)).toEqual(allowed);
  });

  test("scripts of other origins may not read answers", async () => {
    const { body } = pushesOf(EVENT).json;
    for (const origin of ["https://evil.example.com", "null", "http://shop.example.com", `${ORIGIN}:8443`]) {
      const answer = await send(service.url, "POST", { ...json, origin }, body);
      expect(answer.headers).not.toHaveProperty("access-control-allow-origin");
    }
  });

  test("callers that are no browsers see nothing of it", async () => {
    const answer = await send(service.url, "POST", json, pushesOf(EVENT).json.body);
    expect(answer.status).toBe(200);
    expect(corsOf(answer)).toEqual({});
  });

  test("* lets scripts of every origin", async () => {
    const headers = { ...json, origin: "null" };
    const answer = await send(openToAll.url, "POST", headers, pushesOf(EVENT).json.body);
    expect(corsOf(answer)).toMatchObject({ "access-control-allow-origin": "*" });
    expect(corsOf(await preflight("null", openToAll.url))).toMatchObject({
      "access-control-allow-origin": "*",
    });
  });

  test("without the setting no origin is let", async () => {
    const answer = await send(closed.url, "POST", { ...json, origin: ORIGIN }, pushesOf(EVENT).json.body);
    expect(answer.status).toBe(200);
    expect(corsOf(answer)).toEqual({});
    const refused = await preflight(ORIGIN, closed.url);
    expect(refused.status).not.toBe(204);
    expect(corsOf(refused)).toEqual({});
  });
});
