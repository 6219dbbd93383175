/** Requests to an RPC port, for fast-check: mostly sound, often wrong in one way, at times in several. */
import { gzipSync } from "node:zlib";
import { create, type MessageInitShape, toBinary, toJsonString } from "@bufbuild/protobuf";
import fc from "fast-check";
import { HealthCheckRequestSchema } from "../../gen/health/v1/health_pb.js";
import { AckMode, PushRequestSchema } from "../../gen/stats/v1/stats_pb.js";
import { DEFAULT_REQUEST_MAX_BYTES } from "../../src/rpc/limits.js";
import { anyProperty, anyText } from "./arbitraries.js";
import { FATE } from "./lane-pair.js";

const REQUEST_MAX_BYTES = DEFAULT_REQUEST_MAX_BYTES;

/** A request, before it is written in either version of HTTP. */
export interface RpcRequest {
  readonly method: string;
  readonly path: string;
  /** Without those that say how long the body is. A name may come twice. */
  readonly headers: readonly (readonly [name: string, value: string])[];
  readonly body: Buffer;
  /** Where the body is cut for sending, in shares of its length, ascending. */
  readonly cuts: readonly number[];
}

/** How an HTTP/1.1 body says where it ends. */
export type Framing = "length" | "chunked" | "both" | "longer";

/** A request on an HTTP/1.1 connection. */
export interface Http1Request extends RpcRequest {
  readonly version: "1.1" | "1.0";
  readonly host: readonly string[];
  readonly framing: Framing;
}

type Protocol = "connect-json" | "connect-proto" | "grpc-proto" | "grpc-json" | "grpc-web";
/** How much time the caller gives. */
type Deadline = "none" | "over" | "short" | "long" | "malformed";

/** Where Push is called. */
export const PUSH = "/stats.v1.StatsService/Push";
const CHECK = "/grpc.health.v1.Health/Check";
const LIST = "/grpc.health.v1.Health/List";

const CONNECT_TIMEOUTS: Record<Deadline, readonly string[]> = {
  none: [],
  over: ["0", "000"],
  short: ["1", "20"],
  long: ["60000", "2147483647", "2147483648", "9999999999"],
  malformed: ["10000000000", "-1", "1.5", "1m", "abc", "1, 2"],
};
const GRPC_TIMEOUTS: Record<Deadline, readonly string[]> = {
  none: [],
  over: ["0m", "0H", "00000000n"],
  short: ["1n", "999u", "5m", "20000u"],
  long: ["60S", "1M", "99999999H", "99999999n"],
  malformed: ["5", "m", "-1S", "999999999S", "1d", "1 S", "abc"],
};

/** `common` in all but a few cases. */
function mostly<T>(common: fc.Arbitrary<T>, rare: fc.Arbitrary<T>, weight = 9): fc.Arbitrary<T> {
  return fc.oneof({ weight, arbitrary: common }, { weight: 1, arbitrary: rare });
}

const { durableLater, abandonedLater, neverDurable, ...SYNCHRONOUS } = FATE;

const queuedEvent = fc.record({
  property: mostly(anyProperty, anyText({ maxLength: 40 }), 5),
  section: mostly(fc.integer({ min: 1, max: 2 ** 32 - 1 }), fc.constant(0)),
  item: mostly(fc.constantFrom(...Object.values(SYNCHRONOUS)), fc.integer({ min: 0, max: 2 ** 32 - 1 }), 4),
  eventId: mostly(fc.constant(""), fc.string({ maxLength: 40 })),
  ack: mostly(fc.constantFrom(AckMode.UNSPECIFIED, AckMode.QUEUED), fc.constant(7 as AckMode)),
});

/** A caller with little time asks only for what never comes: anything else would be a race. */
function durableEvent(deadline: Deadline) {
  const isShortOfTime = deadline === "over" || deadline === "short";
  return fc.record({
    property: fc.constant("news"),
    section: fc.constant(1),
    item: isShortOfTime
      ? fc.constant<number>(neverDurable)
      : fc.constantFrom<number>(FATE.ok, durableLater, abandonedLater),
    eventId: fc.constant(""),
    ack: fc.constant(AckMode.DURABLE),
  });
}

/** JSON that parsers may differ over. */
const oddJson = fc
  .constantFrom(
    '{"property":"news","property":"shop","section":1,"id":1}',
    '{"property":"news","section":1,"id":1,"x":{"a":1,"a":2}}',
    '{"property":"news","section":1,"id":1,"x":[1,{"y":":"}]}',
    '{"property":"a:b:c","section":1,"id":1}',
    '{"property":"news","section":"1","id":1.0,"event_id":"","ack":"ACK_MODE_QUEUED"}',
    '{"property":"news","section":1,"id":1,"ack":"ACK_MODE_NONE"}',
    '{"property":"news","section":0,"id":1,"\\u0061ck":"durable","x":[{"ack":1}]}',
    '{"ack":"ACK_MODE_QUEUED","ack":"2","property":"news","section":1,"id":1}',
    '{"ack":"2","ack":"ACK_MODE_QUEUED","property":"news","section":1,"id":1}',
    '{"property":"news","section":1,"id":1,"event_id":"","eventId":""}',
    '{"\\u0070roperty":"news","property":"news","section":1,"id":1}',
    '{"property":"\\ud800","section":1,"id":1}',
    '{"property":null,"section":1,"id":1e0}',
    '{"property":"news","section":1,"id":-0}',
    '{"property":"news","section":4294967296,"id":1}',
    '{"__proto__":{"id":1},"constructor":1,"property":"news","section":1,"id":1}',
    '\ufeff{"property":"news","section":1,"id":1}',
    ' \n{ "property" : "news" ,\t"section" : 1 , "id" : 1 } ',
    "[]",
    "null",
    '"x"',
    "1",
    "{}",
    "{",
    "",
  )
  .map((text) => Buffer.from(text));

const oddProto = fc
  .constantFrom(
    "",
    // Twice the same field, an unknown field, a group, a wrong wire type, a length beyond the end, bad UTF-8.
    "0a046e6577730a0473686f7010011801",
    "0a046e65777310011801f23f03616263",
    "0a046e657773100118010b0c",
    "0a046e6577731201781801",
    "0aff016e657773",
    "0a02c32810011801",
    "ffff",
    "00",
  )
  .map((hex) => Buffer.from(hex, "hex"));

function messageTo(path: string, isJson: boolean, deadline: Deadline): fc.Arbitrary<Buffer> {
  if (path === CHECK || path === LIST) {
    return fc
      .constantFrom("", "a", "unknown", `unknown ${"é".repeat(600)}`)
      .map((service) => create(HealthCheckRequestSchema, { service }))
      .map((m) =>
        Buffer.from(
          isJson ? toJsonString(HealthCheckRequestSchema, m) : toBinary(HealthCheckRequestSchema, m),
        ),
      );
  }
  const event = fc
    .oneof({ weight: 3, arbitrary: queuedEvent }, { weight: 1, arbitrary: durableEvent(deadline) })
    .map((init) => create(PushRequestSchema, init))
    .map((m) => Buffer.from(isJson ? toJsonString(PushRequestSchema, m) : toBinary(PushRequestSchema, m)));
  return mostly(event, isJson ? oddJson : oddProto, 5);
}

/** Harm done to a sequence of bytes. */
function damaged(bytes: fc.Arbitrary<Buffer>): fc.Arbitrary<Buffer> {
  return fc.oneof(
    fc.tuple(bytes, fc.nat(20)).map(([b, n]) => b.subarray(0, Math.max(0, b.length - n))),
    fc
      .tuple(bytes, fc.uint8Array({ minLength: 1, maxLength: 8 }))
      .map(([b, more]) => Buffer.concat([b, more])),
    fc.tuple(bytes, fc.nat(), fc.nat(255)).map(([b, at, value]) => {
      const changed = Buffer.from(b);
      changed[at % Math.max(1, b.length)] = value;
      return changed;
    }),
    fc.uint8Array({ maxLength: 40 }).map((b) => Buffer.from(b)),
  );
}

/** A message as gRPC frames it. */
export function frame(message: Uint8Array, flags = 0, length = message.length): Buffer {
  const prefix = Buffer.alloc(5);
  prefix[0] = flags;
  prefix.writeUInt32BE(length, 1);
  return Buffer.concat([prefix, message]);
}

/** Messages as gRPC frames them, or nearly. */
function framed(message: fc.Arbitrary<Buffer>): fc.Arbitrary<Buffer> {
  const sound = message.map((m) => frame(m));
  const flawed = fc.oneof(
    message.map((m) => frame(m, 2)),
    message.map((m) => frame(m, 0x80)),
    message.map((m) => frame(m, 1)),
    message.map((m) => frame(gzipSync(m), 1)),
    fc
      .tuple(message, fc.integer({ min: -3, max: 3 }))
      .map(([m, by]) => frame(m, 0, Math.max(0, m.length + by))),
    message.map((m) => frame(m, 0, REQUEST_MAX_BYTES + 1)),
    message.map((m) => frame(m, 0, 2 ** 32 - 1)),
    message.map((m) => Buffer.concat([frame(m), frame(m)])),
    fc.constant(Buffer.alloc(0)),
    damaged(sound),
  );
  return mostly(sound, flawed, 3);
}

const CONTENT_TYPES: Record<Protocol, readonly string[]> = {
  "connect-json": [
    "application/json",
    "application/json; charset=utf-8",
    "application/json;charset=utf8",
    "APPLICATION/JSON",
  ],
  "connect-proto": ["application/proto", "Application/Proto"],
  "grpc-proto": ["application/grpc", "application/grpc+proto", "application/GRPC"],
  "grpc-json": ["application/grpc+json", "application/grpc+json; charset=utf-8"],
  "grpc-web": ["application/grpc-web+proto"],
};
const OTHER_CONTENT_TYPES = [
  "",
  "text/plain",
  "application/connect+json",
  "application/json; charset=latin1",
  "application/x-proto",
];

type Header = readonly [name: string, value: string];

function optional(name: string, values: readonly string[], weight = 2): fc.Arbitrary<Header[]> {
  return values.length === 0
    ? fc.constant([])
    : mostly(
        fc.constant<Header[]>([]),
        fc.constantFrom(...values).map((value): Header[] => [[name, value]]),
        weight,
      );
}

function headersFor(protocol: Protocol, deadline: Deadline): fc.Arbitrary<Header[]> {
  const isConnect = protocol.startsWith("connect");
  const [usual, ...spellings] = CONTENT_TYPES[protocol] as [string, ...string[]];
  const contentType = mostly(
    fc.constant(usual),
    fc.constantFrom(...spellings, usual, ...OTHER_CONTENT_TYPES),
  );
  const timeouts = (isConnect ? CONNECT_TIMEOUTS : GRPC_TIMEOUTS)[deadline];
  const encodings = ["identity", "gzip", "br", "zstd", ""];
  const accepted = ["gzip", "br", "gzip, br", "identity", "deflate, br;q=1", "*", ""];
  return fc
    .tuple(
      contentType.map((value): Header[] => [["content-type", value]]),
      timeouts.length === 0
        ? fc.constant<Header[]>([])
        : fc
            .constantFrom(...timeouts)
            .map((value): Header[] => [[isConnect ? "connect-timeout-ms" : "grpc-timeout", value]]),
      optional(isConnect ? "content-encoding" : "grpc-encoding", encodings, 15),
      optional(isConnect ? "grpc-encoding" : "content-encoding", encodings, 30),
      optional(isConnect ? "accept-encoding" : "grpc-accept-encoding", accepted),
      optional(isConnect ? "grpc-accept-encoding" : "accept-encoding", accepted, 9),
      optional("connect-protocol-version", ["1", "2", "x"]),
      optional("te", ["trailers"], 4),
      optional("expect", ["100-continue", "nothing"], 40),
      optional("x-odd", ["\u00e9\u00ff", " a ", "a,b"], 9),
    )
    .map((lists) => lists.flat());
}

const anyDeadline = fc.oneof(
  { weight: 12, arbitrary: fc.constant<Deadline>("none") },
  { weight: 4, arbitrary: fc.constantFrom<Deadline>("over", "short", "long", "malformed") },
);

const anyMethod = mostly(fc.constant("POST"), fc.constantFrom("GET", "PUT", "OPTIONS", "DELETE"), 30);

function anyPath(): fc.Arbitrary<string> {
  const known = fc.oneof(
    { weight: 6, arbitrary: fc.constant(PUSH) },
    { weight: 1, arbitrary: fc.constantFrom(CHECK, LIST) },
  );
  const odd = fc.constantFrom(
    `${PUSH}?a=b`,
    `${PUSH}?`,
    `${PUSH}/`,
    "/stats.v1.StatsService/push",
    "/",
    `${LIST}?x`,
    "/%",
  );
  return mostly(known, odd, 20);
}

/** Any request; over HTTP/1.1 few are gRPC. */
export function anyRpcRequest(httpVersion: 1 | 2): fc.Arbitrary<RpcRequest> {
  const grpcWeight = httpVersion === 1 ? 1 : 6;
  return fc
    .record({
      protocol: fc.oneof(
        { weight: 6, arbitrary: fc.constantFrom<Protocol>("connect-json", "connect-proto") },
        { weight: grpcWeight, arbitrary: fc.constantFrom<Protocol>("grpc-proto", "grpc-proto", "grpc-json") },
        { weight: 1, arbitrary: fc.constant<Protocol>("grpc-web") },
      ),
      deadline: anyDeadline,
      method: anyMethod,
      path: anyPath(),
    })
    .chain(({ protocol, deadline, method, path }) => {
      const message = messageTo(path.replace(/\?.*/, ""), protocol.endsWith("json"), deadline);
      const isConnect = protocol.startsWith("connect");
      return fc.record({
        method: fc.constant(method),
        path: fc.constant(path),
        headers: headersFor(protocol, deadline),
        body: isConnect ? mostly(message, damaged(message)) : framed(message),
        cuts: mostly(
          fc.constant<number[]>([]),
          fc
            .array(fc.double({ min: 0, max: 1, noNaN: true }), { maxLength: 6 })
            .map((cuts) => cuts.sort((a, b) => a - b)),
          2,
        ),
      });
    });
}

const anyHost = mostly(
  fc.constant<readonly string[]>(["x"]),
  fc.constantFrom<readonly string[]>([], ["["], ["a", "b"], [""], ["x:99999"], ["x y"], ["x/y?z"]),
  30,
);

/** Any request over HTTP/1.1. */
export function anyHttp1Request(...framings: readonly Framing[]): fc.Arbitrary<Http1Request> {
  return fc
    .tuple(anyRpcRequest(1), anyHost, fc.constantFrom(...framings))
    .map(([request, host, framing]) => ({ ...request, version: "1.1", host, framing }));
}

/** Requests for one connection, which a server closes behind the last of them. */
export function anyPipeline(): fc.Arbitrary<Http1Request[]> {
  const isWithoutExpect = ({ headers }: RpcRequest) => headers.every(([name]) => name !== "expect");
  // Node writes "100 Continue" at once, be it in the middle of the answer to an earlier request.
  const requests = fc.array(anyHttp1Request("length", "length", "chunked").filter(isWithoutExpect), {
    maxLength: 6,
  });
  const last = fc.oneof(
    anyHttp1Request("length").map((request): Http1Request => ({ ...request, version: "1.0" })),
    anyHttp1Request("length", "chunked").map((request) => ({
      ...request,
      headers: [...request.headers, ["connection", "close"] as const],
    })),
  );
  return fc
    .tuple(requests, last)
    .filter(([others, one]) => others.length === 0 || isWithoutExpect(one))
    .map(([others, one]) => [...others, one]);
}

/** A sound event. */
export const EVENT = { property: "news", section: 1, item: FATE.ok };

/** A push of a body that need not be sound. */
export function pushOf(contentType: string, body: Buffer, cuts: readonly number[] = []): RpcRequest {
  return { method: "POST", path: PUSH, headers: [["content-type", contentType]], body, cuts };
}

/** Pushes of one event over each protocol. */
export function pushesOf(event: MessageInitShape<typeof PushRequestSchema>) {
  const message = create(PushRequestSchema, event);
  const proto = Buffer.from(toBinary(PushRequestSchema, message));
  return {
    json: pushOf("application/json", Buffer.from(toJsonString(PushRequestSchema, message))),
    proto: pushOf("application/proto", proto),
    grpc: pushOf("application/grpc", frame(proto)),
  };
}

/** The pieces that a request's body is sent in. */
export function piecesOf({ body, cuts }: RpcRequest): Buffer[] {
  const ends = [...cuts.map((share) => Math.round(share * body.length)), body.length];
  return ends
    .map((end, i) => body.subarray(i === 0 ? 0 : ends[i - 1], end))
    .filter((piece) => piece.length > 0);
}
