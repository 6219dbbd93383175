/** What the two clients make of each answer to a call, and of none: they share the `fetch`, and little else. */
import { once } from "node:events";
import { createServer, type Server } from "node:net";
import { durationFromMs } from "@bufbuild/protobuf/wkt";
import { Code, ConnectError } from "@connectrpc/connect";
import { createBatchCall } from "../../../client/src/batch-call.js";
import { createCallFetch, soundBaseUrl } from "../../../client/src/call-fetch.js";
import { createStatsClient, type StatsClientOptions } from "../../../client/src/stats-client.js";
import { BadRequestSchema, RetryInfoSchema } from "../../../gen/google/rpc/error_details_pb.js";
import { AckMode, StatsService } from "../../../gen/stats/v1/stats_pb.js";
import { intercept, type UnaryInterceptor, unaryMethod } from "../../../src/rpc/unary-method.js";
import { freePort } from "../../support/free-port.js";
import { FatefulIntake, type LanePort, openLanePort, pushMethod } from "../../support/lane-pair.js";

const EVENT = { property: "news", section: 3, item: 1 };
/** What a port without a decoder of its own refuses, with details. */
const REFUSED = { property: "No", section: 3, item: 1 };

let port: LanePort | undefined;
let server: Server | undefined;
afterEach(async () => {
  await port?.server.close();
  port = undefined;
  server?.close();
  server = undefined;
});

type Push = (event: typeof EVENT, options?: { timeoutMs?: number; signal?: AbortSignal }) => Promise<unknown>;

/** How each of the two pushes one event. */
type CreatePush = (url: string, options?: StatsClientOptions) => Push;

const pushPlainly: CreatePush = (url, options = {}) => {
  const client = createStatsClient(url, options);
  return (event, limits) => client.push(event, limits);
};

const pushByBatch: CreatePush = (url, { timeoutMs = 10_000, ...options } = {}) => {
  const pusher = createBatchCall(soundBaseUrl(url), createCallFetch(options));
  return (event, { signal = new AbortController().signal, ...limits } = {}) =>
    pusher.pushBatch(
      { events: [{ ...event, eventId: "" }], ack: AckMode.QUEUED },
      { timeoutMs, signal, keepalive: false, ...limits },
    );
};

/** PushBatch by a queue that takes what is called news, and names what is wrong with the rest. */
const pushBatchMethod = unaryMethod(StatsService.method.pushBatch, ({ events }) => {
  if (events.some(({ property }) => property !== "news")) {
    const fieldViolations = [{ field: "events[0].property", description: "is wrong" }];
    throw new ConnectError("property: is wrong", Code.InvalidArgument, { "x-shown": "yes" }, [
      { desc: BadRequestSchema, value: { fieldViolations } },
      { desc: RetryInfoSchema, value: { retryDelay: durationFromMs(1_500) } },
    ]);
  }
  return { accepted: events.length, rejections: [] };
});

/** A server that has each connection handled by `handle` once the request has begun to come. */
async function openRaw(handle: (socket: import("node:net").Socket) => void): Promise<string> {
  server = createServer((socket) => {
    socket.on("error", () => undefined);
    socket.once("data", () => handle(socket));
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  return `http://127.0.0.1:${typeof address === "object" ? address?.port : 0}`;
}

const failure = (call: Promise<unknown>) =>
  call.then(
    () => undefined,
    (error: unknown) => ConnectError.from(error),
  );

/** A port, and what it saw of the headers of calls by a client with these options. */
async function openPort(createPush: CreatePush, options: StatsClientOptions = {}, headers: string[] = []) {
  const seen: (string | undefined)[][] = [];
  const noting: UnaryInterceptor = (next) => (request, call) => {
    seen.push(headers.map((name) => call.header(name) ?? undefined));
    return next(request, call);
  };
  const methods = [pushMethod(new FatefulIntake()), pushBatchMethod];
  port = await openLanePort(
    methods.map((method) => intercept(method, [noting])),
    { hasFastLane: true },
  );
  return { push: createPush(port.url, options), seen };
}

describe.each([
  ["the plain client", pushPlainly],
  ["the buffering client", pushByBatch],
])("%s", (_name, createPush) => {
  const open = (options?: StatsClientOptions, headers?: string[]) => openPort(createPush, options, headers);

  test("pushes over the fast lane", async () => {
    const { push } = await open();
    await push(EVENT);
    expect(port?.counts).toEqual({ taken: 1, handedBack: 0 });
  });

  test("sends its headers and its token with each call", async () => {
    const { push, seen } = await open({ token: "abc", headers: { "x-team": "blue" } }, [
      "authorization",
      "x-team",
    ]);
    await push(EVENT);
    expect(seen).toEqual([["Bearer abc", "blue"]]);
  });

  test("asks for the token before each call", async () => {
    let calls = 0;
    const token = async () => `token-${++calls}`;
    const { push, seen } = await open({ token }, ["authorization"]);
    await push(EVENT);
    await push(EVENT);
    expect(seen).toEqual([["Bearer token-1"], ["Bearer token-2"]]);
  });

  test("does not wait for a token longer than for the call", async () => {
    const { push } = await open({ token: () => new Promise(() => undefined), timeoutMs: 50 });
    expect(await failure(push(EVENT))).toMatchObject({ code: Code.DeadlineExceeded });
  });

  test("uses the fetch that it is given", async () => {
    const urls: string[] = [];
    const { push } = await open(
      {
        fetch: (input, init) => {
          urls.push(input instanceof Request ? input.url : input.toString());
          return fetch(input, init);
        },
      },
      [],
    );
    await push(EVENT);
    expect(urls).toEqual([expect.stringMatching(`^${port?.url}/stats.v1.StatsService/Push(Batch)?$`)]);
  });

  test("passes the service's own error on", async () => {
    const { push } = await open();
    expect(await failure(push(REFUSED))).toMatchObject({
      code: Code.InvalidArgument,
      rawMessage: expect.stringMatching(/^property: /),
    });
  });

  test("reads what a proxy says that speaks HTTP only", async () => {
    const url = await openRaw((socket) =>
      socket.end(
        "HTTP/1.1 503 Sorry\r\nretry-after: 7\r\ncontent-type: text/html\r\ncontent-length: 2\r\n\r\nno",
      ),
    );
    const error = await failure(createPush(url)(EVENT));
    expect(error).toMatchObject({ code: Code.Unavailable, rawMessage: "HTTP 503" });
    expect(error?.metadata.get("retry-after")).toBe("7");
  });

  test.each([
    ["JSON that is none of Connect's", 500, "application/json", '["no"]', Code.Unknown],
    ["a code that it does not know", 404, "application/json", '{"code":"lost"}', Code.Unimplemented],
    ["a page", 200, "text/html", "<p>log in</p>", Code.Unknown],
  ])("goes by the HTTP status when the answer is %s", async (_, status, type, body, code) => {
    const headers = `content-type: ${type}\r\ncontent-length: ${body.length}`;
    const url = await openRaw((socket) => socket.end(`HTTP/1.1 ${status} X\r\n${headers}\r\n\r\n${body}`));
    expect(await failure(createPush(url)(EVENT))).toMatchObject({ code });
  });

  test("reads no answer that is longer than the service's", async () => {
    const url = await openRaw((socket) => {
      socket.write("HTTP/1.1 200 OK\r\ncontent-type: application/proto\r\ncontent-length: 5000000\r\n\r\n");
      socket.write(Buffer.alloc(5_000_000));
    });
    expect(await failure(createPush(url)(EVENT))).toMatchObject({
      code: Code.Internal,
      rawMessage: `the answer of ${url} is longer than 4194304 bytes`,
    });
  });

  test("says which server is out of reach, and why", async () => {
    const url = `http://127.0.0.1:${await freePort()}`;
    expect(await failure(createPush(url)(EVENT))).toMatchObject({
      code: Code.Unavailable,
      rawMessage: `no answer from ${url}: connect ECONNREFUSED ${url.slice("http://".length)}`,
    });
  });

  test.each([
    ["before its answer", ""],
    ["in the headers of its answer", "HTTP/1.1 200 OK\r\ncontent-ty"],
    ["in its answer", "HTTP/1.1 200 OK\r\ncontent-type: application/proto\r\ncontent-length: 10\r\n\r\nab"],
  ])("takes a connection that is cut %s for a server out of reach", async (_, text) => {
    const url = await openRaw((socket) => socket.end(text, () => socket.destroySoon()));
    expect(await failure(createPush(url)(EVENT))).toMatchObject({
      code: Code.Unavailable,
      rawMessage: expect.stringContaining(`no answer from ${url}`),
    });
  });

  test.each([301, 302, 307, 308])("follows no redirect (%d), and says where it leads", async (status) => {
    const location = "https://stats.example/stats.v1.StatsService/Push";
    const url = await openRaw((socket) =>
      socket.end(`HTTP/1.1 ${status} Moved\r\nlocation: ${location}\r\ncontent-length: 0\r\n\r\n`),
    );
    expect(await failure(createPush(url)(EVENT))).toMatchObject({
      code: Code.Unimplemented,
      rawMessage: `${url} redirects to ${location}, which calls do not follow`,
    });
  });

  test("takes a proxy's word that a request is too long for the service's", async () => {
    const url = await openRaw((socket) =>
      socket.end("HTTP/1.1 413 Content Too Large\r\ncontent-type: text/html\r\ncontent-length: 2\r\n\r\nno"),
    );
    expect(await failure(createPush(url)(EVENT))).toMatchObject({
      code: Code.ResourceExhausted,
      rawMessage: `${url} takes no request of this size: HTTP 413`,
    });
  });

  test("takes a redirect that a browser hides for one", async () => {
    // Node shows them; this is what a browser gives instead.
    const hidden = Object.defineProperty(Response.error(), "type", { value: "opaqueredirect" });
    const push = createPush("http://localhost", { fetch: async () => hidden });
    expect(await failure(push(EVENT))).toMatchObject({
      code: Code.Unimplemented,
      rawMessage: "http://localhost redirects elsewhere, which calls do not follow",
    });
  });

  test("gives a server that is silent no more than its time", async () => {
    const url = await openRaw(() => undefined);
    const push = createPush(url, { timeoutMs: 50 });
    expect(await failure(push(EVENT))).toMatchObject({ code: Code.DeadlineExceeded });
  });

  test("gives a fetch that does not heed its signal no more time either", async () => {
    const push = createPush("http://localhost", { timeoutMs: 50, fetch: () => new Promise(() => undefined) });
    expect(await failure(push(EVENT))).toMatchObject({ code: Code.DeadlineExceeded });
  });

  test("ends when its caller gives it up", async () => {
    const url = await openRaw(() => undefined);
    const call = new AbortController();
    const pushed = failure(createPush(url)(EVENT, { signal: call.signal }));
    call.abort(new ConnectError("enough", Code.Canceled));
    expect(await pushed).toMatchObject({ code: Code.Canceled });
    expect(await failure(createPush(url)(EVENT, { signal: call.signal }))).toMatchObject({
      code: Code.Canceled,
    });
  });
});

test("the buffering client goes by the HTTP status when the JSON of an error is cut", async () => {
  const url = await openRaw((socket) =>
    socket.end('HTTP/1.1 401 X\r\ncontent-type: application/json\r\ncontent-length: 9\r\n\r\n{"code":"'),
  );
  expect(await failure(pushByBatch(url)(EVENT))).toMatchObject({ code: Code.Unauthenticated });
});

test("the buffering client reads the details of an error", async () => {
  port = await openLanePort([pushBatchMethod], { hasFastLane: true });
  const error = await failure(pushByBatch(port.url)(REFUSED));
  expect(error?.findDetails(BadRequestSchema)).toMatchObject([
    { fieldViolations: [{ field: "events[0].property", description: "is wrong" }] },
  ]);
  expect(error?.findDetails(RetryInfoSchema)).toMatchObject([{ retryDelay: { seconds: 1n } }]);
  expect(error?.metadata.get("x-shown")).toBe("yes");
});

test.each([Number.POSITIVE_INFINITY, 2 ** 31])(
  "the plain client takes a time limit that is longer than a timer can be for none (%d ms)",
  async (timeoutMs) => {
    const { push, seen } = await openPort(pushPlainly, { timeoutMs }, ["connect-timeout-ms"]);
    await push(EVENT);
    await push(EVENT, { timeoutMs });
    await push(EVENT, { timeoutMs: 5_000 });
    expect(seen).toEqual([[undefined], [undefined], ["5000"]]);
  },
);
