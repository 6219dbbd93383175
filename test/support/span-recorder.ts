/** OpenTelemetry's SDK, registered for a test: it keeps the spans that ended, and reads `traceparent`. */
import {
  type Context,
  context,
  propagation,
  type TextMapGetter,
  type TextMapPropagator,
  trace,
} from "@opentelemetry/api";
import { AsyncLocalStorageContextManager } from "@opentelemetry/context-async-hooks";
import {
  BasicTracerProvider,
  InMemorySpanExporter,
  type ReadableSpan,
  SimpleSpanProcessor,
} from "@opentelemetry/sdk-trace-base";

/** Format: https://www.w3.org/TR/trace-context/#traceparent-header */
const traceParent: TextMapPropagator = {
  inject: () => undefined,
  fields: () => ["traceparent"],
  extract<Carrier>(parent: Context, carrier: Carrier, getter: TextMapGetter<Carrier>): Context {
    const [, traceId, spanId] = String(getter.get(carrier, "traceparent") ?? "").split("-");
    return traceId === undefined || spanId === undefined
      ? parent
      : trace.setSpanContext(parent, { traceId, spanId, traceFlags: 1, isRemote: true });
  },
};

/** Registered from its making to its disposal. */
export class SpanRecorder implements Disposable {
  readonly #exporter = new InMemorySpanExporter();

  constructor() {
    trace.setGlobalTracerProvider(
      new BasicTracerProvider({ spanProcessors: [new SimpleSpanProcessor(this.#exporter)] }),
    );
    context.setGlobalContextManager(new AsyncLocalStorageContextManager().enable());
    propagation.setGlobalPropagator(traceParent);
  }

  /** Those that have ended, in that order. */
  get spans(): readonly ReadableSpan[] {
    return this.#exporter.getFinishedSpans();
  }

  [Symbol.dispose](): void {
    trace.disable();
    context.disable();
    propagation.disable();
  }
}
