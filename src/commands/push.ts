/** The command `push`: sends events from the command line or standard input to a running service. */
import { fstatSync } from "node:fs";
import { createBufferingClient } from "../../client/src/buffering-client.js";
import type { StatsEvent } from "../../client/src/event.js";
import type { Config } from "../config.js";
import { backgroundClock, systemClock } from "../util/clock.js";
import { codeOf, messageOf } from "../util/error-message.js";
import type { Command, CommandLine } from "./command.js";
import { type EventLine, readEventLines } from "./push/event-lines.js";
import { PushProgress } from "./push/push-progress.js";
import { exitStatus, reportPush } from "./push/push-report.js";
import { PushRun } from "./push/push-run.js";
import { UsageError } from "./usage-error.js";

const DEFAULT_URL = "http://127.0.0.1:3000";
const DEFAULT_PATIENCE_S = 30;
/** Where descriptions stand in `--help`. */
const HELP_INDENT = 24;
const PROGRESS_INTERVAL_MS = 200;

export const pushCommand: Command = {
  run: runPush,
  description: [
    "send an event, or one for each line of standard input, to a running service;",
    "exits with 0 if all were accepted, 1 if some were not, 69 if the service is out of reach,",
    "77 if it refuses the caller, 130 after Ctrl-C",
  ].join(`\n${" ".repeat(HELP_INDENT)}`),
  options: {
    property: { type: "string", placeholder: "NAME", description: "what is counted; without it: --stdin" },
    section: { type: "string", placeholder: "N", description: "the section of the property" },
    item: { type: "string", placeholder: "N", description: "the item in the section" },
    "event-id": { type: "string", placeholder: "UUID", description: "the event's own id, a UUIDv7" },
    stdin: { type: "boolean", description: 'read lines such as {"property":"news","section":3,"id":42}' },
    url: {
      type: "string",
      placeholder: "URL",
      description: `the service; default: STATS_URL or ${DEFAULT_URL}`,
    },
    token: {
      type: "string",
      placeholder: "TOKEN",
      description: "others see it in the list of processes: rather STATS_TOKEN",
    },
    durable: { type: "boolean", description: "wait until each event is on stable storage" },
    timeout: {
      type: "string",
      placeholder: "S",
      description: `seconds without an answer until it gives up, ${DEFAULT_PATIENCE_S} by default`,
    },
    json: { type: "boolean", description: "the result as a line of JSON" },
  },
};

type Options = CommandLine["options"];

/** Resolves with the exit status. */
async function runPush(_config: Config, { options, environment }: CommandLine): Promise<number> {
  const event = eventOf(options);
  const patienceMs = 1_000 * wholeNumber(options.timeout ?? `${DEFAULT_PATIENCE_S}`, "--timeout");
  const progress = new PushProgress(process.stderr, event === undefined ? inputBytes() : undefined);
  const run = new PushRun({
    createClient: (buffering) => createClient(options, environment, buffering),
    clock: systemClock,
    patienceMs,
    onFault: (line, what) =>
      progress.print(event === undefined ? `line ${line} ${what}` : `the event ${what}`),
  });
  const onSignal = (signal: "SIGINT" | "SIGTERM") => run.stop({ kind: "signal", signal });
  // The second one ends the process at once.
  process.once("SIGINT", onSignal).once("SIGTERM", onSignal);
  const input = new CountedInput(process.stdin);
  const show = () => progress.update({ bytes: input.bytes, ...run.counts });
  const stopShowing = every(PROGRESS_INTERVAL_MS, show);
  // Ends the wait for a next line.
  void run.stopped.then(() => process.stdin.destroy());
  const result = await run.push(event === undefined ? readEventLines(input) : oneLine(event));
  stopShowing();
  progress.close();
  reportPush(result, { isJson: options.json === true, hasLines: event === undefined });
  return exitStatus(result);
}

/** The event on the command line; undefined when events come from standard input. */
function eventOf({ property, section, item, stdin, "event-id": eventId }: Options): StatsEvent | undefined {
  if (property === undefined) {
    if (section !== undefined || item !== undefined || eventId !== undefined) {
      throw new UsageError("an event needs --property, --section and --item");
    }
    if (stdin !== true && process.stdin.isTTY) {
      throw new UsageError("push takes --property, --section and --item, or events on standard input");
    }
    return undefined;
  }
  if (stdin === true) {
    throw new UsageError("--property and --stdin exclude each other");
  }
  return {
    property: String(property),
    section: wholeNumber(section, "--section"),
    id: wholeNumber(item, "--item"),
    eventId: eventId === undefined ? undefined : String(eventId),
  };
}

function wholeNumber(text: string | boolean | undefined, option: string): number {
  if (typeof text !== "string" || !/^[1-9]\d{0,9}$/.test(text)) {
    throw new UsageError(`${option} takes a whole number from 1`);
  }
  return Number(text);
}

function createClient(
  options: Options,
  environment: CommandLine["environment"],
  buffering: Parameters<typeof createBufferingClient>[1],
) {
  const token = options.token ?? environment.STATS_TOKEN;
  try {
    return createBufferingClient(String(options.url ?? (environment.STATS_URL || DEFAULT_URL)), {
      ...buffering,
      ack: options.durable === true ? "durable" : "queued",
      ...(token && { token: String(token) }),
    });
  } catch (cause) {
    throw new UsageError(messageOf(cause).replace(/^baseUrl/, "--url"), { cause });
  }
}

/** The length of standard input when it is a file. */
function inputBytes(): number | undefined {
  const stats = fstatSync(0);
  if (stats.isDirectory()) {
    // Node would take it for an empty input.
    throw new UsageError("standard input is a directory");
  }
  return stats.isFile() && stats.size > 0 ? stats.size : undefined;
}

/** Standard input, whose end by our own hand is an end like another. */
class CountedInput implements AsyncIterable<Uint8Array> {
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

async function* oneLine(event: StatsEvent): AsyncGenerator<EventLine> {
  yield { number: 1, event };
}

/** Calls `work` again and again; returns what ends that. */
function every(ms: number, work: () => void): () => void {
  let cancel: () => void = () => undefined;
  const again = () => {
    work();
    cancel = backgroundClock.schedule(ms, again);
  };
  again();
  return () => cancel();
}
