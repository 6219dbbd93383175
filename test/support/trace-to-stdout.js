/** Registers an SDK of OpenTelemetry that writes each span to standard output: for `node --import`, as operators do. */
import { context, trace } from "@opentelemetry/api";
import { AsyncLocalStorageContextManager } from "@opentelemetry/context-async-hooks";
import { BasicTracerProvider, SimpleSpanProcessor } from "@opentelemetry/sdk-trace-base";

const exporter = {
  export(spans, onResult) {
    for (const { name, attributes, links } of spans) {
      process.stdout.write(`${JSON.stringify({ msg: `span ${name}`, attributes, links: links.length })}\n`);
    }
    onResult({ code: 0 });
  },
  shutdown: () => Promise.resolve(),
};

trace.setGlobalTracerProvider(
  new BasicTracerProvider({ spanProcessors: [new SimpleSpanProcessor(exporter)] }),
);
context.setGlobalContextManager(new AsyncLocalStorageContextManager().enable());
