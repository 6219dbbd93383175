/** What an edge has in place of a database: its sink is the buffer, from which writers take. */
import { asValue } from "awilix";
import { ForwardingSink } from "../../buffer/forwarding-sink.js";
import type { Sink } from "../../sink/sink.js";
import type { ServiceCradle } from "../service-cradle.js";
import { part } from "./part.js";

type Needs = Pick<ServiceCradle, "sharedBuffer" | "tracing">;

export function edgeParts() {
  return {
    embeddedPostgres: asValue(undefined),
    schema: asValue(undefined),
    readTables: asValue(undefined),
    clockWitness: asValue(undefined),
    countQueries: asValue(undefined),
    aggregator: asValue(undefined),
    sink: part(createSink),
  };
}

function createSink({ sharedBuffer, tracing }: Needs): Sink {
  if (sharedBuffer === undefined) {
    throw new Error("an edge has no BUFFER_URL");
  }
  const sink = new ForwardingSink(sharedBuffer);
  return tracing?.sink(sink) ?? sink;
}
