/** Reads events, one a line in JSON, from a stream; it holds no more than one line. */
import { fromJson, type JsonValue } from "@bufbuild/protobuf";
import type { StatsEvent } from "../../../client/src/event.js";
import { EventSchema } from "../../../gen/stats/v1/stats_pb.js";
import { messageOf } from "../../util/error-message.js";

/** One line that is not blank: an event, or why it is none. */
export type EventLine = { readonly number: number } & (
  | { readonly event: StatsEvent }
  | { readonly fault: string }
);

/** The longest event takes some 200; more has another reason. */
const LINE_MAX_BYTES = 16 * 1024;
const NEWLINE = 0x0a;

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
