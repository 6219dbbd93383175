/**
 * Traces by OpenTelemetry's API: a span a call, and a span a flush that links to the calls whose events it wrote. It
 * needs an SDK that the operator loads (`node --import`); without one there is no tracing, and none of this is in the way.
 */
import { Code } from "@connectrpc/connect";
import { codeToString } from "@connectrpc/connect/protocol-connect";
import {
  type Context,
  context,
  type Link,
  propagation,
  ROOT_CONTEXT,
  type Span,
  SpanKind,
  SpanStatusCode,
  type TextMapGetter,
  type Tracer,
  trace,
} from "@opentelemetry/api";
import type { EncodedBatch } from "../event/tuple-codec.js";
import type { Batch } from "../ingest/batch.js";
import type { BatchIntake } from "../rpc/push-batch.js";
import type { CallContext, UnaryInterceptor } from "../rpc/unary-method.js";
import type { Sink, WriteOptions, WriteOutcome } from "../sink/sink.js";
import { messageOf } from "../util/error-message.js";
import { version } from "../util/package-info.js";
import { CALL_OK, type CallCode, callCodeOf } from "./calls.js";

/** Links of one flush: a batch may have the events of 10,000 calls. */
export const FLUSH_LINKS_MAX = 64;

const TRACER_NAME = "stats-service";

/** The tracer; undefined when no SDK has been loaded. Ask once, at the start. */
export function findTracer(): Tracer | undefined {
  // The global provider stands in for the SDK's, which it has once one is registered. It may be of another copy of the
  // API, so its class tells nothing.
  const provider = trace.getTracerProvider() as {
    getDelegateTracer?: (name: string, version: string) => Tracer | undefined;
  };
  return provider.getDelegateTracer?.(TRACER_NAME, version);
}

/** Makes the spans. Put its three parts around the calls, the intake and the sink. */
export class Tracing {
  readonly #tracer: Tracer;
  /** The calls whose events are in a batch, the first of them. */
  readonly #links = new WeakMap<EncodedBatch, Link[]>();

  constructor(tracer: Tracer) {
    this.#tracer = tracer;
  }

  /** A SERVER span around each call, child of the caller's if the headers name one. */
  readonly interceptor: UnaryInterceptor = (next, { name, parent }) => {
    const spanName = `${parent.typeName}/${name}`;
    return (request, call) => {
      const system = systemOf(call);
      const attributes = { "rpc.system": system, "rpc.service": parent.typeName, "rpc.method": name };
      const caller = propagation.extract(ROOT_CONTEXT, call, HEADERS);
      const span = this.#tracer.startSpan(spanName, { kind: SpanKind.SERVER, attributes }, caller);
      return inSpan(
        span,
        caller,
        () => next(request, call),
        () => endCall(span, system, CALL_OK),
        (error) => endCall(span, system, callCodeOf(error), messageOf(error)),
      );
    };
  };

  /** `intake`, noting which call each event came by. */
  intake(intake: BatchIntake): BatchIntake {
    return {
      push: (event, caller) => {
        const batch = intake.push(event, caller);
        this.#link(batch);
        return batch;
      },
      requireRoom: (rows, caller) => intake.requireRoom(rows, caller),
      awaitDurable: (batch, waiter) => intake.awaitDurable(batch, waiter),
    };
  }

  /** `sink`, with a span around each try of a batch. */
  sink(sink: Sink): Sink {
    return { write: (batch, options) => this.#write(sink, batch, options) };
  }

  #link(batch: Batch): void {
    const span = trace.getSpan(context.active());
    const links = this.#links.get(batch) ?? [];
    const spanContext = span?.spanContext();
    if (
      spanContext === undefined ||
      links.length >= FLUSH_LINKS_MAX ||
      links.at(-1)?.context.spanId === spanContext.spanId
    ) {
      return;
    }
    links.push({ context: spanContext });
    this.#links.set(batch, links);
  }

  async #write(sink: Sink, batch: EncodedBatch, options: WriteOptions): Promise<WriteOutcome> {
    const span = this.#tracer.startSpan(
      "flush",
      {
        kind: SpanKind.INTERNAL,
        attributes: {
          "stats.batch.rows": batch.rows,
          "stats.batch.bytes": batch.bytes,
          "stats.batch.attempt": options.attempt,
        },
        links: this.#links.get(batch) ?? [],
      },
      ROOT_CONTEXT,
    );
    return inSpan(
      span,
      ROOT_CONTEXT,
      () => sink.write(batch, options),
      ({ inserted, duplicates, dead }) => {
        span.setAttributes({
          "stats.inserted": inserted,
          "stats.duplicates": duplicates,
          "stats.dead": dead,
        });
        span.end();
      },
      (error) => {
        span.recordException(error as Error);
        span.setStatus({ code: SpanStatusCode.ERROR, message: messageOf(error) });
        span.end();
      },
    );
  }
}

/** Runs `work` as part of a span and hears how it ended, at once if it is a plain value. */
function inSpan<T extends object>(
  span: Span,
  parent: Context,
  work: () => T | Promise<T>,
  onValue: (value: T) => void,
  onError: (error: unknown) => void,
): T | Promise<T> {
  let result: T | Promise<T>;
  try {
    result = context.with(trace.setSpan(parent, span), work);
  } catch (error) {
    onError(error);
    throw error;
  }
  if (result instanceof Promise) {
    return result.then(
      (value) => {
        onValue(value);
        return value;
      },
      (error: unknown) => {
        onError(error);
        throw error;
      },
    );
  }
  onValue(result);
  return result;
}

const HEADERS: TextMapGetter<CallContext> = {
  get: (call, name) => call.header(name.toLowerCase()),
  // Asked for by propagators that look for headers with a prefix; those in use name theirs.
  keys: () => [],
};

type RpcSystem = "grpc" | "connect_rpc";

/** gRPC-Web counts as gRPC. */
function systemOf(call: CallContext): RpcSystem {
  return call.header("content-type")?.startsWith("application/grpc") === true ? "grpc" : "connect_rpc";
}

/** Codes that are the service's fault, as the conventions have it for servers; the others are the caller's. */
const SERVER_FAULTS: ReadonlySet<CallCode> = new Set([
  Code.Unknown,
  Code.DeadlineExceeded,
  Code.Unimplemented,
  Code.Internal,
  Code.Unavailable,
  Code.DataLoss,
]);

/** Attributes: https://github.com/open-telemetry/semantic-conventions/blob/v1.37.0/docs/rpc/rpc-spans.md */
function endCall(span: Span, system: RpcSystem, code: CallCode, message?: string): void {
  if (system === "grpc") {
    span.setAttribute("rpc.grpc.status_code", code);
  } else if (code !== CALL_OK) {
    span.setAttribute("rpc.connect_rpc.error_code", codeToString(code));
  }
  if (SERVER_FAULTS.has(code)) {
    span.setStatus({ code: SpanStatusCode.ERROR, ...(message !== undefined && { message }) });
  }
  span.end();
}
