import { gzipSync } from "node:zlib";
import { EventIds } from "../../../src/event/event-id.js";
import { Admission } from "../../../src/ingest/admission.js";
import { createStatsMethods } from "../../../src/rpc/routes.js";
import { FakeClock } from "../../support/fake-clock.js";
import { FatefulIntake, type LanePort, openLanePort } from "../../support/lane-pair.js";
import { EVENT, frame, type RpcRequest } from "../../support/rpc-requests.js";
import { exchangeHttp2, withSession } from "../../support/wire-clients.js";

const LANES = ["fast", "stock"] as const;
const METHODS = { Push: EVENT, PushBatch: { events: [EVENT] } };

/** By the name of the protocol: how it sends a message, how it answers OK, and how INVALID_ARGUMENT. */
const PROTOCOLS = {
  "Connect JSON": { contentType: "application/json", ok: /":status":200/, invalid: /invalid_argument/ },
  "gRPC with JSON": {
    contentType: "application/grpc+json",
    ok: /"grpc-status":"0"/,
    invalid: /"grpc-status":"3"/,
  },
  "gRPC-Web with JSON": {
    contentType: "application/grpc-web+json",
    ok: /grpc-status: 0/,
    invalid: /grpc-status: 3/,
  },
};

class RoomyIntake extends FatefulIntake {
  requireRoom(): void {}
}

let port: LanePort;
async function open(lane: (typeof LANES)[number]): Promise<void> {
  const clock = new FakeClock();
  const methods = createStatsMethods({
    admission: new Admission({ clock, ids: new EventIds({ now: clock.now }), properties: undefined }),
    flusher: new RoomyIntake(),
    interceptors: [],
    batchMaxEvents: 10,
  });
  port = await openLanePort(methods, { hasFastLane: lane === "fast" });
}

/** All that comes back, as one text. */
async function call(
  method: string,
  contentType: string,
  message: string,
  headers: RpcRequest["headers"] = [],
) {
  const bytes = Buffer.from(message);
  const isCompressed = headers.some(([name]) => name === "content-encoding");
  const request = {
    method: "POST",
    path: `/stats.v1.StatsService/${method}`,
    headers: [["content-type", contentType], ...headers] as const,
    body: contentType.includes("grpc") ? frame(bytes) : isCompressed ? gzipSync(bytes) : bytes,
    cuts: [],
  };
  const answer = await withSession(port.url, (session) => exchangeHttp2(session, request));
  return decodeURIComponent(JSON.stringify(answer));
}

describe.each(LANES)("a name in ack, on the %s lane", (lane) => {
  beforeAll(() => open(lane));
  afterAll(() => port.server.close());

  const cases = Object.entries(PROTOCOLS).flatMap(([name, protocol]) =>
    Object.entries(METHODS).map(([method, message]) => ({ name, protocol, method, message })),
  );

  test.each(cases)(
    "that is not known is refused by $name, to $method",
    async ({ protocol, method, message }) => {
      for (const ack of ["DURABLE", "ACK_MODE_DURABEL", "durable", "ack_mode_durable", "2", ""]) {
        const answer = await call(method, protocol.contentType, JSON.stringify({ ...message, ack }));
        expect(answer).toMatch(protocol.invalid);
        expect(answer).toMatch(/ack: must be ACK_MODE_QUEUED or ACK_MODE_DURABLE/);
      }
    },
  );

  test.each(cases)(
    "that is known is taken by $name, to $method, beside unknown fields",
    async ({ protocol, method, message }) => {
      for (const ack of ["ACK_MODE_QUEUED", "ACK_MODE_DURABLE", "ACK_MODE_UNSPECIFIED", 0, 2, null]) {
        const body = JSON.stringify({ ...message, ack, colour: "red", AckMode: "x", nested: { ack: "x" } });
        expect(await call(method, protocol.contentType, body)).toMatch(protocol.ok);
      }
    },
  );

  test("that is not known is refused however it is written", async () => {
    const event = JSON.stringify(EVENT).slice(1);
    const { contentType, invalid } = PROTOCOLS["Connect JSON"];
    for (const ack of [
      '"\\u0061ck":"DURABLE"',
      '"ack":"ACK_MODE_QUEUED","ack":"DURABLE"',
      ' "ack" : "\\u0044"',
    ]) {
      expect(await call("Push", contentType, `{${ack},${event}`)).toMatch(invalid);
    }
    const gzip = [["content-encoding", "gzip"]] as const;
    expect(await call("Push", contentType, `{"ack":"DURABLE",${event}`, gzip)).toMatch(invalid);
  });

  test("is one of several faults that are all named", async () => {
    const { contentType } = PROTOCOLS["Connect JSON"];
    const answer = await call("Push", contentType, '{"property":"news","section":0,"id":1,"ack":"DURABLE"}');
    expect(answer).toMatch(/section: must be/);
    expect(answer).toMatch(/ack: must be/);
  });
});
