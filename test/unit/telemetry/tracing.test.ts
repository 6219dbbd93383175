import { create, type DescMethodUnary } from "@bufbuild/protobuf";
import { Code, ConnectError } from "@connectrpc/connect";
import { context, SpanKind, SpanStatusCode, type Tracer, trace } from "@opentelemetry/api";
import { PushRequestSchema, StatsService } from "../../../gen/stats/v1/stats_pb.js";
import type { AdmittedEvent } from "../../../src/ingest/batch.js";
import { Batch } from "../../../src/ingest/batch.js";
import type { UnaryHandler } from "../../../src/rpc/unary-method.js";
import { FLUSH_LINKS_MAX, findTracer, Tracing } from "../../../src/telemetry/tracing.js";
import { SpanRecorder } from "../../support/span-recorder.js";

const TRACE_ID = "0af7651916cd43dd8448eb211c80319c";
const CALLER_SPAN_ID = "b7ad6b7169203331";
const EVENT = {} as AdmittedEvent;

let recorder: SpanRecorder;
let tracing: Tracing;
beforeEach(() => {
  recorder = new SpanRecorder();
  tracing = new Tracing(findTracer() as Tracer);
});
afterEach(() => recorder[Symbol.dispose]());

/** Calls Push behind the interceptor. */
function call(handler: UnaryHandler<DescMethodUnary>, headers: Readonly<Record<string, string>> = {}) {
  const handle = tracing.interceptor(handler, StatsService.method.push);
  return handle(create(PushRequestSchema), {
    address: new Uint8Array(),
    arrivedAt: 0,
    header: (name) => headers[name],
    caller: undefined,
    onAbandoned: () => undefined,
  });
}

const failing = (error: Error) => () => {
  throw error;
};

describe("findTracer", () => {
  it("finds none until an SDK is registered", () => {
    expect(findTracer()).toBeDefined();
    recorder[Symbol.dispose]();
    expect(findTracer()).toBeUndefined();
  });
});

describe("a call's span", () => {
  it("says what was called, as a child of the caller's span", () => {
    expect(call(() => ({}), { traceparent: `00-${TRACE_ID}-${CALLER_SPAN_ID}-01` })).toEqual({});
    expect(recorder.spans).toMatchObject([
      {
        name: "stats.v1.StatsService/Push",
        kind: SpanKind.SERVER,
        parentSpanContext: { traceId: TRACE_ID, spanId: CALLER_SPAN_ID },
        status: { code: SpanStatusCode.UNSET },
      },
    ]);
    expect(recorder.spans[0]?.attributes).toEqual({
      "rpc.system": "connect_rpc",
      "rpc.service": "stats.v1.StatsService",
      "rpc.method": "Push",
    });
  });

  it("has gRPC's status code when the call came by gRPC", () => {
    void call(() => ({}), { "content-type": "application/grpc+proto" });
    expect(recorder.spans[0]?.attributes).toMatchObject({ "rpc.system": "grpc", "rpc.grpc.status_code": 0 });
  });

  it.each([
    ["invalid_argument", new ConnectError("no", Code.InvalidArgument), SpanStatusCode.UNSET],
    ["unavailable", new ConnectError("later", Code.Unavailable), SpanStatusCode.ERROR],
    ["internal", new TypeError("a bug"), SpanStatusCode.ERROR],
  ])(
    "has the code %s of a failure, which is an error if the service is at fault",
    async (code, error, status) => {
      expect(() => call(failing(error))).toThrow(error);
      await expect(call(() => Promise.reject(error))).rejects.toBe(error);
      expect(recorder.spans).toMatchObject([
        { attributes: { "rpc.connect_rpc.error_code": code }, status: { code: status } },
        { attributes: { "rpc.connect_rpc.error_code": code }, status: { code: status } },
      ]);
    },
  );

  it("is the active one while the handler runs, and ends when it has answered", async () => {
    let active: unknown;
    const answer = call(async () => {
      await Promise.resolve();
      active = trace.getSpan(context.active());
      return {};
    });
    expect(recorder.spans).toEqual([]);
    expect(await answer).toEqual({});
    expect(recorder.spans[0]?.spanContext()).toEqual((active as { spanContext(): unknown }).spanContext());
  });
});

describe("an intake", () => {
  it("hears who calls with tracing as without, so that callers share the queue fairly", () => {
    const batch = new Batch();
    const heard: unknown[] = [];
    const intake = tracing.intake({
      push: (...args) => {
        heard.push(args);
        return batch;
      },
      requireRoom: (...args) => void heard.push(args),
      awaitDurable: () => undefined,
    });
    intake.requireRoom(2, "newsroom");
    expect(intake.push(EVENT, "newsroom")).toBe(batch);
    expect(heard).toEqual([
      [2, "newsroom"],
      [EVENT, "newsroom"],
    ]);
  });
});

describe("a flush's span", () => {
  /** Pushes one event by each of `calls` calls, all into one batch, and writes that. */
  async function flush(
    calls: number,
    write: () => Promise<{ inserted: number; duplicates: number; dead: number }>,
  ) {
    const batch = new Batch();
    const intake = tracing.intake({
      push: () => batch,
      requireRoom: () => undefined,
      awaitDurable: () => undefined,
    });
    for (let i = 0; i < calls; i++) {
      void call(() => {
        intake.push(EVENT, undefined);
        intake.push(EVENT, undefined);
        return {};
      });
    }
    batch.rows = 2 * calls;
    const sink = tracing.sink({ write });
    return sink.write(batch, { signal: new AbortController().signal, attempt: 2 });
  }

  it("links to the span of each call whose events it writes, and says where they ended", async () => {
    await flush(2, () => Promise.resolve({ inserted: 3, duplicates: 1, dead: 0 }));
    const [one, two, written] = recorder.spans;
    expect(written).toMatchObject({
      name: "flush",
      kind: SpanKind.INTERNAL,
      attributes: {
        "stats.batch.rows": 4,
        "stats.batch.bytes": 0,
        "stats.batch.attempt": 2,
        "stats.inserted": 3,
        "stats.duplicates": 1,
        "stats.dead": 0,
      },
    });
    expect(written?.parentSpanContext).toBeUndefined();
    expect(written?.links.map(({ context: { spanId } }) => spanId)).toEqual(
      [one, two].map((span) => span?.spanContext().spanId),
    );
  });

  it("links to no more calls than it may", async () => {
    await flush(FLUSH_LINKS_MAX + 10, () => Promise.resolve({ inserted: 1, duplicates: 0, dead: 0 }));
    expect(recorder.spans.at(-1)?.links).toHaveLength(FLUSH_LINKS_MAX);
  });

  it("of a try that failed is an error, and the sink's error goes on", async () => {
    const error = new Error("connection refused");
    await expect(flush(1, () => Promise.reject(error))).rejects.toBe(error);
    expect(recorder.spans.at(-1)).toMatchObject({
      name: "flush",
      status: { code: SpanStatusCode.ERROR, message: "connection refused" },
      events: [{ name: "exception" }],
    });
  });
});
