import { gzipSync } from "node:zlib";
import { toBinary } from "@bufbuild/protobuf";
import { PushRequestSchema } from "../../../gen/stats/v1/stats_pb.js";
import { EventIds } from "../../../src/event/event-id.js";
import { Admission } from "../../../src/ingest/admission.js";
import { createStatsMethods } from "../../../src/rpc/routes.js";
import { FakeClock } from "../../support/fake-clock.js";
import { FATE, FatefulIntake, type LanePort, openLanePort } from "../../support/lane-pair.js";
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
  });
  port = await openLanePort(methods, { hasFastLane: lane === "fast" });
}

/** All that comes back, as one text. */
async function call(
  method: string,
  contentType: string,
  message: string | Uint8Array,
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

describe.each(LANES)("names in JSON, on the %s lane", (lane) => {
  beforeAll(() => open(lane));
  afterAll(() => port.server.close());

  const cases = Object.entries(PROTOCOLS).flatMap(([name, protocol]) =>
    Object.entries(METHODS).map(([method, message]) => ({ name, protocol, method, message })),
  );

  test.each(cases)("a field that is not known is refused by its name, by $name, to $method", async (one) => {
    const { protocol, method, message } = one;
    for (const field of ["count", "timestamp", "Property", "acknowledge", "constructor", "__proto__"]) {
      const text = `${JSON.stringify(message).slice(0, -1)},"${field}":1}`;
      const answer = await call(method, protocol.contentType, text);
      expect(answer).toMatch(protocol.invalid);
      expect(answer).toContain(field);
    }
  });

  test.each(cases)("an ack that is not known is refused by $name, to $method", async (one) => {
    const { protocol, method, message } = one;
    for (const ack of ["DURABLE", "ACK_MODE_DURABEL", "durable", "ack_mode_durable", "2", ""]) {
      const answer = await call(method, protocol.contentType, JSON.stringify({ ...message, ack }));
      expect(answer).toMatch(protocol.invalid);
      expect(answer).toContain("AckMode");
    }
  });

  test.each(cases)("an ack that is known is taken by $name, to $method", async (one) => {
    const { protocol, method, message } = one;
    for (const ack of ["ACK_MODE_QUEUED", "ACK_MODE_DURABLE", "ACK_MODE_UNSPECIFIED", 0, 2, null]) {
      expect(await call(method, protocol.contentType, JSON.stringify({ ...message, ack }))).toMatch(
        protocol.ok,
      );
    }
  });

  test("a field of an event in a batch is refused by its name", async () => {
    const { contentType, invalid } = PROTOCOLS["Connect JSON"];
    const answer = await call("PushBatch", contentType, JSON.stringify({ events: [EVENT, { colour: 1 }] }));
    expect(answer).toMatch(invalid);
    expect(answer).toContain("colour");
  });

  test("a name that is not known is refused however it is written", async () => {
    const event = JSON.stringify(EVENT).slice(1);
    const { contentType, invalid } = PROTOCOLS["Connect JSON"];
    for (const member of [
      '"c\\u006funt":1',
      '"\\u0061ck":"DURABLE"',
      '"ack":"ACK_MODE_QUEUED","ack":"DURABLE"',
      ' "ack" : "\\u0044"',
    ]) {
      expect(await call("Push", contentType, `{${member},${event}`)).toMatch(invalid);
    }
    const gzip = [["content-encoding", "gzip"]] as const;
    expect(await call("Push", contentType, `{"count":1,${event}`, gzip)).toMatch(invalid);
  });

  test.each(Object.entries(PROTOCOLS))(
    "a very long name is refused and not repeated, by %s",
    async (...one) => {
      const [, { contentType, invalid }] = one;
      for (const name of ["x".repeat(100_000), '\\"\\u0078'.repeat(10_000)]) {
        const answer = await call("Push", contentType, `{"${name}":1}`);
        expect(answer).toMatch(invalid);
        expect(answer.length).toBeLessThan(2_000);
      }
    },
  );

  test.each(["id", "item"])("the item goes by %s", async (name) => {
    const { contentType } = PROTOCOLS["Connect JSON"];
    const taken = await call("Push", contentType, `{"property":"news","section":1,"${name}":${FATE.ok}}`);
    expect(taken).toMatch(PROTOCOLS["Connect JSON"].ok);
    const full = await call(
      "Push",
      contentType,
      `{"property":"news","section":1,"${name}":${FATE.queueFull}}`,
    );
    expect(full).toMatch(/resource_exhausted/);
  });

  test("the item is refused when it comes by both of its names", async () => {
    const { contentType, invalid } = PROTOCOLS["Connect JSON"];
    const answer = await call("Push", contentType, '{"property":"news","section":1,"id":1,"item":1}');
    expect(answer).toMatch(invalid);
  });

  test("the binary format takes fields that are not known, as a newer contract may have some", async () => {
    const message = toBinary(PushRequestSchema, {
      $typeName: "stats.v1.PushRequest",
      eventId: "",
      ack: 0,
      ...EVENT,
    });
    const unknown = Buffer.from("f23f03616263", "hex");
    expect(await call("Push", "application/proto", Buffer.concat([message, unknown]))).toMatch(
      /":status":200/,
    );
  });
});
