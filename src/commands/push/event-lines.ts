/** Reads events, one a line in JSON, from a file or standard input; it holds no more than one line. */
import { createReadStream, fstatSync, openSync } from "node:fs";
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

/** Where events come from. */
export interface EventSource {
  /** Read so far. */
  readonly bytes: number;
  /** undefined: unknown, as that of a pipe. */
  readonly totalBytes: number | undefined;
  /** To be called once. */
  lines(): AsyncIterable<EventLine>;
  /** Ends the wait for a next line. */
  close(): void;
}

/** One event that is there already. */
export function oneEvent(event: StatsEvent): EventSource {
  async function* lines(): AsyncGenerator<EventLine> {
    yield { number: 1, event };
  }
  return { bytes: 0, totalBytes: undefined, lines, close: () => undefined };
}

/** A file or standard input, with an event on each line. */
export class EventInput implements EventSource {
  bytes = 0;
  readonly totalBytes: number | undefined;
  readonly #stream: NodeJS.ReadableStream & { destroy(): unknown };

  /**
   * `file`: absent, or `-`, for standard input.
   *
   * @throws UsageError when it cannot be read
   */
  constructor(file = "-") {
    const isStandard = file === "-";
    try {
      const descriptor = isStandard ? process.stdin.fd : openSync(file, "r");
      const stats = fstatSync(descriptor);
      if (stats.isDirectory()) {
        // Node would take it for an empty input.
        throw new UsageError(`${isStandard ? "standard input" : file} is a directory`);
      }
      this.totalBytes = stats.isFile() && stats.size > 0 ? stats.size : undefined;
      this.#stream = isStandard ? process.stdin : createReadStream(file, { fd: descriptor });
    } catch (error) {
      throw error instanceof UsageError
        ? error
        : new UsageError(`cannot read ${file}: ${messageOf(error)}`, { cause: error });
    }
  }

  lines(): AsyncIterable<EventLine> {
    return readEventLines(this.#chunks());
  }

  /** An end by {@link close} is an end like another. */
  async *#chunks(): AsyncGenerator<Uint8Array> {
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

  close(): void {
    this.#stream.destroy();
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
