/** Reads events, one a line in JSON, from standard input; it holds no more than one line. */
import { fstatSync } from "node:fs";
import { fromJson, type JsonValue } from "@bufbuild/protobuf";
import type { StatsEvent } from "../../../client/src/event.js";
import { EventSchema } from "../../../gen/stats/v1/stats_pb.js";
import { codeOf, messageOf } from "../../util/error-message.js";
import { UsageError } from "../command.js";

/** One line that is not blank: an event, or why it is none. */
export type EventLine = { readonly number: number } & (
  | { readonly event: StatsEvent }
  | { readonly fault: string }
);

/** The longest event takes some 200; more has another reason. */
const LINE_MAX_BYTES = 16 * 1024;
const NEWLINE = 0x0a;

/** The length of standard input when it is a file. */
export function inputBytes(): number | undefined {
  const stats = fstatSync(0);
  if (stats.isDirectory()) {
    // Node would take it for an empty input.
    throw new UsageError("standard input is a directory");
  }
  return stats.isFile() && stats.size > 0 ? stats.size : undefined;
}

/** Standard input, whose end by our own hand is an end like another. */
export class CountedInput implements AsyncIterable<Uint8Array> {
  bytes = 0;
  readonly #stream: NodeJS.ReadStream;

  constructor(stream: NodeJS.ReadStream) {
    this.#stream = stream;
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Uint8Array> {
    try {
      for await (const chunk of this.#stream) {
        this.bytes += (chunk as Buffer).length;
        yield chunk as Buffer;
      }
    } catch (error) {
      if (codeOf(error) !== "ERR_STREAM_PREMATURE_CLOSE") {
        throw error;
      }
    }
  }
}

/** The lines of `input`, the first of which has number 1. Blank ones count, and are left out. */
export async function* readEventLines(input: AsyncIterable<Uint8Array>): AsyncGenerator<EventLine> {
  let number = 0;
  let line: Buffer = Buffer.alloc(0);
  for await (const chunk of input) {
    let start = 0;
    for (let end = chunk.indexOf(NEWLINE); end !== -1; end = chunk.indexOf(NEWLINE, start)) {
      number += 1;
      yield* parseLine(number, append(line, chunk.subarray(start, end)));
      line = Buffer.alloc(0);
      start = end + 1;
    }
    line = append(line, chunk.subarray(start));
  }
  yield* parseLine(number + 1, line);
}

/** Of a line that is too long, only as much is kept as shows that it is. */
function append(line: Buffer, part: Uint8Array): Buffer {
  return Buffer.concat([line, part.subarray(0, LINE_MAX_BYTES + 1 - line.length)]);
}

function* parseLine(number: number, line: Buffer): Generator<EventLine> {
  if (line.length > LINE_MAX_BYTES) {
    yield { number, fault: `is longer than ${LINE_MAX_BYTES} bytes` };
    return;
  }
  const text = line.toString().trim();
  if (text !== "") {
    yield { number, ...parseEvent(text) };
  }
}

/** The JSON of the contract's Event: what Connect takes, `event_id` or `eventId`. */
function parseEvent(text: string): { event: StatsEvent } | { fault: string } {
  let json: JsonValue;
  try {
    json = JSON.parse(text) as JsonValue;
  } catch (error) {
    return { fault: `is not JSON: ${messageOf(error)}` };
  }
  try {
    const { property, section, item, eventId } = fromJson(EventSchema, json);
    return { event: { property, section, item, eventId: eventId === "" ? undefined : eventId } };
  } catch (error) {
    return { fault: `is not an event: ${messageOf(error)}` };
  }
}
