/** The command `push`: sends events from the command line or standard input to a running service. */
import { Option } from "commander";
import { createBufferingClient } from "../../client/src/create-buffering-client.js";
import type { StatsEvent } from "../../client/src/event.js";
import { backgroundClock, systemClock } from "../util/clock.js";
import { messageOf } from "../util/error-message.js";
import { type Call, type CommandDefinition, parseUrl, parseWholeNumber, UsageError } from "./command.js";
import { EventInput, oneEvent } from "./push/event-lines.js";
import { exitStatus, PushProgress, reportPush } from "./push/push-report.js";
import { PushRun } from "./push/push-run.js";
import { SERVICE_URL_SETTINGS, type ServiceUrlSetting, serviceUrl } from "./service-url.js";

const DEFAULT_PATIENCE_S = 30;
const PROGRESS_INTERVAL_MS = 200;

interface PushOptions {
  readonly property?: string;
  readonly section?: number;
  readonly item?: number;
  readonly eventId?: string;
  readonly stdin?: boolean;
  readonly url?: string;
  readonly token?: string;
  readonly durable?: boolean;
  /** In seconds. */
  readonly timeout: number;
  readonly json?: boolean;
}

type PushCall = Call<PushOptions, ServiceUrlSetting | "statsToken">;

export const definePush: CommandDefinition = (command, line) => {
  command
    .description(
      "Send events to a running service: the lines of a file or of standard input, or one that the options name.\n\n" +
        "Ends with 0 if all events were accepted, 1 if some were not, 69 if the service is out of reach, 77 if it refuses " +
        "the caller, 130 after Ctrl-C. A run that ends early says from which line to go on.",
    )
    .argument(
      "[file]",
      'lines such as {"property":"news","section":3,"item":42}; - or absent: standard input',
    )
    .optionsGroup("One event:")
    .option("--property <NAME>", "what is counted")
    .option("--section <N>", "the section of the property", parseWholeNumber)
    .option("--item <N>", "the item in the section", parseWholeNumber)
    .option("--event-id <UUID>", "an id for the event, a UUIDv7 (default: a new one)")
    .optionsGroup("Many events:")
    .addOption(
      new Option("--stdin", "read standard input, also from a terminal").conflicts([
        "property",
        "section",
        "item",
        "eventId",
      ]),
    )
    .optionsGroup("Options:")
    .option(
      "--url <URL>",
      "RPC port of the service (default: STATS_URL, or the one at HOST and PORT)",
      parseUrl,
    )
    .option("--token <TOKEN>", "bearer token; visible in ps, so prefer STATS_TOKEN")
    .option("--durable", "wait until each event is on stable storage")
    .option(
      "--timeout <S>",
      "give up after this many seconds without an answer",
      parseWholeNumber,
      DEFAULT_PATIENCE_S,
    )
    .option("--json", "the result as one line of JSON");
  line.runs(command, [...SERVICE_URL_SETTINGS, "statsToken"], runPush);
};

/** Resolves with the exit status. */
async function runPush({ options, operands: [file], read }: PushCall): Promise<number> {
  const event = eventOf(options, file);
  const url = options.url ?? serviceUrl(read);
  const token = options.token ?? read("statsToken").statsToken;
  const source = event === undefined ? new EventInput(file) : oneEvent(event);
  const progress = new PushProgress(process.stderr, source.totalBytes);
  const run = new PushRun({
    createClient: (buffering) =>
      createClient(url, {
        ...buffering,
        ack: options.durable === true ? "durable" : "queued",
        ...(token && { token }),
      }),
    clock: systemClock,
    patienceMs: 1_000 * options.timeout,
    // Few need it.
    diagnose: async (error) => (await import("./push/diagnosis.js")).diagnose(url, error),
    onWaiting: (reason) =>
      progress.print(`stats-service: ${reason}; trying for ${options.timeout} s in all (--timeout)`),
    onFault: (line, what) =>
      progress.print(event === undefined ? `line ${line} ${what}` : `the event ${what}`),
  });
  stopOnSignals(run);
  void run.stopped.then(() => source.close());
  const stopShowing = every(PROGRESS_INTERVAL_MS, () =>
    progress.update({ bytes: source.bytes, ...run.counts }),
  );
  const result = await run.push(source.lines());
  stopShowing();
  progress.close();
  reportPush(result, { isJson: options.json === true, hasLines: event === undefined, file });
  return exitStatus(result);
}

/** The second signal ends the process at once. */
function stopOnSignals(run: PushRun): void {
  const onSignal = (signal: "SIGINT" | "SIGTERM") => run.stop({ kind: "signal", signal });
  process.once("SIGINT", onSignal).once("SIGTERM", onSignal);
}

/** The event on the command line; undefined when events come from a file or standard input. */
function eventOf(
  { property, section, item, stdin, eventId }: PushOptions,
  file: string | undefined,
): StatsEvent | undefined {
  const isGiven = [property, section, item, eventId].some((value) => value !== undefined);
  if (file !== undefined && (isGiven || stdin === true)) {
    throw new UsageError(`a file and ${isGiven ? "an event" : "--stdin"} exclude each other`);
  }
  if (property !== undefined && section !== undefined && item !== undefined) {
    return { property, section, item, eventId };
  }
  if (isGiven) {
    throw new UsageError("an event needs --property, --section and --item");
  }
  if (file === undefined && stdin !== true && process.stdin.isTTY) {
    throw new UsageError(
      "push takes a file, or --property, --section and --item, or events on standard input",
    );
  }
  return undefined;
}

function createClient(...[url, options]: Parameters<typeof createBufferingClient>) {
  try {
    return createBufferingClient(url, options);
  } catch (cause) {
    throw new UsageError(messageOf(cause).replace(/^baseUrl/, "--url"), { cause });
  }
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
