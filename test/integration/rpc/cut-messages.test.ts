import { gzipSync } from "node:zlib";
import { FatefulIntake, type LanePort, openLanePort, pushMethod } from "../../support/lane-pair.js";
import { EVENT, frame, pushesOf, pushOf } from "../../support/rpc-requests.js";
import { exchangeHttp2, withSession } from "../../support/wire-clients.js";

const MESSAGE = pushesOf(EVENT).proto.body;
const INVALID_ARGUMENT = "3";
const GZIP = [["grpc-encoding", "gzip"]] as const;
const compressed = gzipSync(MESSAGE);

/** All that a message may lose of its end, its envelope included. */
const cutsOf = (bytes: Buffer) =>
  Array.from({ length: bytes.length }, (_, length) => bytes.subarray(0, length));
/** Messages that are cut before they were put into their envelope. The cut must not fall between two fields. */
const cutInside = [1, 3, MESSAGE.length - 1].map((length) => frame(MESSAGE.subarray(0, length)));
const gzipFrame = (bytes: Buffer) => {
  const framed = frame(bytes);
  framed[0] = 1;
  return framed;
};

describe.each(["fast", "stock"])("a gRPC message that is cut, on the %s lane", (lane) => {
  let port: LanePort;
  beforeAll(async () => {
    port = await openLanePort([pushMethod(new FatefulIntake())], { hasFastLane: lane === "fast" });
  });
  afterAll(() => port.server.close());

  async function statusOf(
    contentType: string,
    body: Buffer,
    headers: readonly (readonly [string, string])[] = [],
  ): Promise<string | undefined> {
    const request = pushOf(contentType, body);
    const {
      headers: head,
      trailers,
      body: text,
    } = await withSession(port.url, (session) =>
      exchangeHttp2(session, { ...request, headers: [...request.headers, ...headers] }),
    );
    const status = trailers?.["grpc-status"] ?? head?.["grpc-status"] ?? /grpc-status: (\d+)/.exec(text)?.[1];
    return status?.toString();
  }

  test.each(["application/grpc", "application/grpc+proto", "application/grpc-web+proto"])(
    "is INVALID_ARGUMENT wherever it is cut, as %s",
    async (contentType) => {
      for (const body of [...cutsOf(frame(MESSAGE)), ...cutInside]) {
        expect([body.length, await statusOf(contentType, body)]).toEqual([body.length, INVALID_ARGUMENT]);
      }
    },
  );

  test("is INVALID_ARGUMENT wherever it is cut, when it is compressed", async () => {
    const bodies = [
      ...cutsOf(gzipFrame(compressed)),
      ...[0, 1, 12, compressed.length - 9].map((length) => gzipFrame(compressed.subarray(0, length))),
    ];
    for (const body of bodies) {
      expect([body.length, await statusOf("application/grpc", body, GZIP)]).toEqual([
        body.length,
        INVALID_ARGUMENT,
      ]);
    }
  });
});
