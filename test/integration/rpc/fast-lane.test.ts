import fc from "fast-check";
import { DEFAULT_REQUEST_MAX_BYTES } from "../../../src/rpc/limits.js";
import { type LanePair, type LanePort, openLanePair } from "../../support/lane-pair.js";
import {
  anyHttp1Request,
  anyPipeline,
  anyRpcRequest,
  EVENT,
  type Framing,
  frame,
  pushesOf,
  pushOf,
  type RpcRequest,
} from "../../support/rpc-requests.js";
import { exchangeHttp1, exchangeHttp2, http1Bytes, withSession } from "../../support/wire-clients.js";

const REQUEST_MAX_BYTES = DEFAULT_REQUEST_MAX_BYTES;

/** For thousands of cases. */
const TIMEOUT_MS = 120_000;

let pair: LanePair;
beforeAll(async () => {
  pair = await openLanePair();
});
afterAll(() => pair[Symbol.asyncDispose]());

/** Sends to both; whatever differs is a fault of the fast lane. Returns what did not. */
async function expectSame<T>(send: (port: LanePort) => Promise<T>): Promise<T> {
  const [fast, stock] = await Promise.all([send(pair.fast), send(pair.stock)]);
  expect(fast).toEqual(stock);
  return stock;
}

/** What the fast lane did while `work` ran. */
async function counting(work: () => Promise<void>): Promise<{ taken: number; handedBack: number }> {
  const before = { ...pair.fast.counts };
  await work();
  const { taken, handedBack } = pair.fast.counts;
  return { taken: taken - before.taken, handedBack: handedBack - before.handedBack };
}

describe("a port with the fast lane answers exactly as one without it", () => {
  test(
    "over HTTP/1.1, to requests that come pipelined and in pieces",
    async () => {
      const anyConnection = fc.tuple(anyPipeline(), fc.boolean()).map(([requests, inPieces]) => {
        const pieces = requests.flatMap(http1Bytes);
        return inPieces ? pieces : [pieces.join("")];
      });
      const { taken, handedBack } = await counting(() =>
        fc.assert(
          fc.asyncProperty(fc.array(anyConnection, { minLength: 1, maxLength: 8 }), async (connections) => {
            await expectSame(({ port }) =>
              Promise.all(connections.map((pieces) => exchangeHttp1(port, pieces, false))),
            );
          }),
          { numRuns: 90 },
        ),
      );
      expect(taken).toBeGreaterThan(500);
      expect(handedBack).toBeGreaterThan(50);
    },
    TIMEOUT_MS,
  );

  test(
    "over HTTP/1.1, to a request that breaks off",
    async () => {
      const share = fc.double({ min: 0, max: 1, noNaN: true });
      await fc.assert(
        fc.asyncProperty(
          anyHttp1Request("length", "chunked", "both", "longer"),
          share,
          async (request, sentShare) => {
            const bytes = http1Bytes(request).join("");
            const sent = bytes.slice(0, Math.floor(sentShare * bytes.length - 1));
            await expectSame(({ port }) => exchangeHttp1(port, [sent], true));
          },
        ),
        { numRuns: 250 },
      );
    },
    TIMEOUT_MS,
  );

  test(
    "over HTTP/2, on many streams of a session",
    async () => {
      const { taken, handedBack } = await counting(() =>
        fc.assert(
          fc.asyncProperty(fc.array(anyRpcRequest(2), { minLength: 1, maxLength: 12 }), async (requests) => {
            await expectSame(({ url }) =>
              withSession(url, (session) =>
                Promise.all(requests.map((request) => exchangeHttp2(session, request))),
              ),
            );
          }),
          { numRuns: 100 },
        ),
      );
      expect(taken).toBeGreaterThan(250);
      expect(handedBack).toBeGreaterThan(25);
    },
    TIMEOUT_MS,
  );
});

const LONG_JSON = Buffer.from(`{"property":"${"a".repeat(REQUEST_MAX_BYTES)}"}`);

/** The server closes the connection behind the answer. */
const HTTP1_LAST = { version: "1.0", host: ["x"] } as const;

function overHttp1(request: RpcRequest, framing: Framing): Promise<string> {
  return expectSame(({ port }) =>
    exchangeHttp1(port, http1Bytes({ ...request, ...HTTP1_LAST, framing }), false),
  );
}

function overHttp2(request: RpcRequest, thenEnd = true) {
  return expectSame(({ url }) => withSession(url, (session) => exchangeHttp2(session, request, thenEnd)));
}

describe("a body cut in two", () => {
  test.each(Object.entries(pushesOf(EVENT)))("is one body wherever the cut is: %s", async (name, request) => {
    const { length } = request.body;
    for (let at = 1; at < length; at++) {
      const cut = { ...request, cuts: [at / length] };
      const { headers, trailers } = await overHttp2(cut);
      expect(headers?.[":status"]).toBe(200);
      if (name === "grpc") {
        expect(trailers?.["grpc-status"]).toBe("0");
      } else {
        expect(await overHttp1(cut, "length")).toContain("HTTP/1.1 200 OK");
        expect(await overHttp1(cut, "chunked")).toContain("HTTP/1.1 200 OK");
      }
    }
  });
});

describe("a body over the limit", () => {
  test("is refused by its content-length alone", async () => {
    const [head = ""] = http1Bytes({
      ...pushOf("application/json", LONG_JSON),
      ...HTTP1_LAST,
      framing: "length",
    });
    const answer = await expectSame(({ port }) => exchangeHttp1(port, [head], false));
    expect(answer).toContain("HTTP/1.1 429 ");
    expect(answer).toContain(`message size ${LONG_JSON.length} is larger`);
  });

  test("is refused when it comes in chunks, before their end", async () => {
    const request = pushOf("application/json", LONG_JSON, [0.3, 0.6, 0.9]);
    const pieces = http1Bytes({ ...request, ...HTTP1_LAST, framing: "chunked" }).slice(0, -1);
    const answer = await expectSame(({ port }) => exchangeHttp1(port, pieces, false));
    expect(answer).toContain("HTTP/1.1 429 ");
  });

  test("leaves its connection to the next request", async () => {
    const longer = Buffer.concat([LONG_JSON, LONG_JSON, LONG_JSON]);
    const cuts = Array.from({ length: 50 }, (_, n) => n / 50);
    const refused = { ...pushOf("application/json", longer, cuts), version: "1.1", host: ["x"] } as const;
    const next = http1Bytes({ ...pushesOf(EVENT).json, ...HTTP1_LAST, framing: "length" });
    for (const framing of ["length", "chunked"] as const) {
      const pieces = [...http1Bytes({ ...refused, framing }), ...next];
      const answer = await expectSame(({ port }) => exchangeHttp1(port, pieces, false));
      expect(answer).toMatch(/^\nHTTP\/1\.1 429 [\s\S]*HTTP\/1\.1 200 /);
    }
  });

  test("is refused over HTTP/2", async () => {
    const { headers, body } = await overHttp2(pushOf("application/json", LONG_JSON, [0.3, 0.6, 0.9]), false);
    expect(headers?.[":status"]).toBe(429);
    expect(body).toContain("message size is larger than configured readMaxBytes 1048576");
  });

  test("is refused over gRPC by its frame's prefix", async () => {
    const { trailers } = await overHttp2(
      pushOf("application/grpc+json", frame(LONG_JSON).subarray(0, 5)),
      false,
    );
    expect(trailers?.["grpc-status"]).toBe("8");
  });

  test("is taken when it is as long as the limit", async () => {
    const body = LONG_JSON.subarray(0, REQUEST_MAX_BYTES);
    body.write('"}', REQUEST_MAX_BYTES - 2);
    expect(await overHttp1(pushOf("application/json", body, [0.5]), "chunked")).toContain("HTTP/1.1 400 ");
    const { trailers } = await overHttp2(pushOf("application/grpc+json", frame(body), [0.5]));
    expect(trailers?.["grpc-message"]).toContain("must%20have%20at%20most%2032%20characters");
  });
});

const GRPC = pushesOf(EVENT).grpc.body;

describe("what is wrong with a gRPC message is answered when the client has ended", () => {
  test.each([
    ["a message that cannot be parsed", frame(Buffer.from("ffff", "hex")), "3"],
    ["a second message", Buffer.concat([GRPC, GRPC]), "12"],
    ["a compressed message", Buffer.concat([Buffer.from([1]), GRPC.subarray(1)]), "13"],
  ])("%s", async (_name, body, status) => {
    for (const cuts of [[], [0.5], [0.2, 0.4, 0.6, 0.8]]) {
      const { trailers } = await overHttp2(pushOf("application/grpc", body, cuts));
      expect(trailers?.["grpc-status"]).toBe(status);
    }
  });
});
