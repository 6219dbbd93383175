import { once } from "node:events";
import { createServer, type Server } from "node:net";
import { Code, ConnectError } from "@connectrpc/connect";
import { createStatsClient, type StatsClientOptions } from "../../../client/src/stats-client.js";
import { intercept, type UnaryInterceptor } from "../../../src/rpc/unary-method.js";
import { freePort } from "../../support/free-port.js";
import { FatefulIntake, type LanePort, openLanePort, pushMethod } from "../../support/lane-pair.js";

const EVENT = { property: "news", section: 3, item: 1 };

let port: LanePort | undefined;
let server: Server | undefined;
afterEach(async () => {
  await port?.server.close();
  port = undefined;
  server?.close();
  server = undefined;
});

/** The headers that the service saw of calls, by a client with these options. */
async function openClient(options: StatsClientOptions, headers: string[]) {
  const seen: (string | undefined)[][] = [];
  const noting: UnaryInterceptor = (next) => (request, call) => {
    seen.push(headers.map((name) => call.header(name) ?? undefined));
    return next(request, call);
  };
  port = await openLanePort([intercept(pushMethod(new FatefulIntake()), [noting])], { hasFastLane: true });
  return { client: createStatsClient(port.url, options), seen };
}

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

test("pushes over the fast lane", async () => {
  const { client } = await openClient({}, []);
  await client.push(EVENT);
  expect(port?.counts).toEqual({ taken: 1, handedBack: 0 });
});

test("sends its headers and its token with each call", async () => {
  const { client, seen } = await openClient({ token: "abc", headers: { "x-team": "blue" } }, [
    "authorization",
    "x-team",
  ]);
  await client.push(EVENT);
  expect(seen).toEqual([["Bearer abc", "blue"]]);
});

test("asks for the token before each call", async () => {
  let calls = 0;
  const token = async () => `token-${++calls}`;
  const { client, seen } = await openClient({ token }, ["authorization"]);
  await client.push(EVENT);
  await client.push(EVENT);
  expect(seen).toEqual([["Bearer token-1"], ["Bearer token-2"]]);
});

test("does not wait for a token longer than for the call", async () => {
  const { client } = await openClient({ token: () => new Promise(() => undefined), timeoutMs: 50 }, []);
  expect(await failure(client.push(EVENT))).toMatchObject({ code: Code.DeadlineExceeded });
});

test("uses the fetch that it is given", async () => {
  const urls: string[] = [];
  const { client } = await openClient(
    {
      fetch: (input, init) => {
        urls.push(input instanceof Request ? input.url : input.toString());
        return fetch(input, init);
      },
    },
    [],
  );
  await client.push(EVENT);
  expect(urls).toEqual([`${port?.url}/stats.v1.StatsService/Push`]);
});

test("passes the service's own error on", async () => {
  const { client } = await openClient({}, []);
  expect(await failure(client.push({ ...EVENT, property: "No" }))).toMatchObject({
    code: Code.InvalidArgument,
    rawMessage: expect.stringMatching(/^property: /),
  });
});

test("says which server is out of reach, and why", async () => {
  const url = `http://127.0.0.1:${await freePort()}`;
  expect(await failure(createStatsClient(url).push(EVENT))).toMatchObject({
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
  expect(await failure(createStatsClient(url).push(EVENT))).toMatchObject({
    code: Code.Unavailable,
    rawMessage: expect.stringContaining(`no answer from ${url}`),
  });
});

test.each([301, 302, 307, 308])("follows no redirect (%d), and says where it leads", async (status) => {
  const location = "https://stats.example/stats.v1.StatsService/Push";
  const url = await openRaw((socket) =>
    socket.end(`HTTP/1.1 ${status} Moved\r\nlocation: ${location}\r\ncontent-length: 0\r\n\r\n`),
  );
  expect(await failure(createStatsClient(url).push(EVENT))).toMatchObject({
    code: Code.Unimplemented,
    rawMessage: `${url} redirects to ${location}, which calls do not follow`,
  });
});

test("takes a proxy's word that a request is too long for the service's", async () => {
  const url = await openRaw((socket) =>
    socket.end("HTTP/1.1 413 Content Too Large\r\ncontent-type: text/html\r\ncontent-length: 2\r\n\r\nno"),
  );
  expect(await failure(createStatsClient(url).push(EVENT))).toMatchObject({
    code: Code.ResourceExhausted,
    rawMessage: `${url} takes no request of this size: HTTP 413`,
  });
});

test("takes a redirect that a browser hides for one", async () => {
  // Node shows them; this is what a browser gives instead.
  const hidden = Object.defineProperty(Response.error(), "type", { value: "opaqueredirect" });
  const client = createStatsClient("http://localhost", { fetch: async () => hidden });
  expect(await failure(client.push(EVENT))).toMatchObject({
    code: Code.Unimplemented,
    rawMessage: "http://localhost redirects elsewhere, which calls do not follow",
  });
});

test("gives a server that is silent no more than its time", async () => {
  const url = await openRaw(() => undefined);
  const client = createStatsClient(url, { timeoutMs: 50 });
  expect(await failure(client.push(EVENT))).toMatchObject({ code: Code.DeadlineExceeded });
});

test.each([Number.POSITIVE_INFINITY, 2 ** 31])(
  "takes a time limit that is longer than a timer can be for none (%d ms)",
  async (timeoutMs) => {
    const { client, seen } = await openClient({ timeoutMs }, ["connect-timeout-ms"]);
    await client.push(EVENT);
    await client.push(EVENT, { timeoutMs });
    await client.push(EVENT, { timeoutMs: 5_000 });
    expect(seen).toEqual([[undefined], [undefined], ["5000"]]);
  },
);
