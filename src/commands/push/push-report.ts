/** What the command `push` shows while it runs, on a terminal, and what it says when it is over. */
import { MultiBar } from "cli-progress";
import { EXIT_REFUSED, EXIT_UNREACHABLE } from "../command.js";
import { complain, print } from "../print.js";
import type { PushResult } from "./push-run.js";

/** A terminal, or not. */
export interface ProgressStream extends NodeJS.WritableStream {
  readonly isTTY?: boolean | undefined;
}

/** What is shown. */
export interface ProgressCounts {
  readonly bytes: number;
  readonly acknowledged: number;
  readonly faulty: number;
}

const COUNTS = "{acknowledged} acknowledged, {faulty} not accepted";

/** Open from the start until `close()`. */
export class PushProgress {
  readonly #stream: ProgressStream;
  readonly #bars: MultiBar | undefined;
  readonly #bar: ReturnType<MultiBar["create"]> | undefined;

  /** `totalBytes`: length of the input, if it has one. */
  constructor(stream: ProgressStream, totalBytes: number | undefined) {
    this.#stream = stream;
    if (stream.isTTY === true) {
      const format = totalBytes === undefined ? COUNTS : `[{bar}] {percentage}% | ${COUNTS}`;
      this.#bars = new MultiBar({ stream, format, clearOnComplete: true, hideCursor: true, fps: 5 });
      this.#bar = this.#bars.create(totalBytes ?? 1, 0, { acknowledged: 0, faulty: 0 });
    }
  }

  update({ bytes, ...counts }: ProgressCounts): void {
    this.#bar?.update(Math.min(bytes, this.#bar.getTotal()), counts);
  }

  /** Writes a line of text, above the bar if there is one. */
  print(line: string): void {
    if (this.#bars === undefined) {
      this.#stream.write(`${line}\n`);
    } else {
      this.#bars.log(`${line}\n`);
    }
  }

  close(): void {
    // Lines that were printed since the bar was drawn last wait for the next time.
    this.#bars?.update();
    this.#bars?.stop();
  }
}

/** What a shell reports of a process that a signal ended. */
const EXIT_SIGNAL = { SIGINT: 130, SIGTERM: 143 } as const;

/** Prints the result on standard output and, if the run ended early, why and how to go on on standard error. */
export function reportPush(
  result: PushResult,
  { isJson, hasLines, file }: { isJson: boolean; hasLines: boolean; file: string | undefined },
): void {
  const { stop, ...counts } = result;
  if (isJson) {
    print([JSON.stringify({ ...counts, stop: stop?.kind ?? null })]);
  } else {
    const { acknowledged, rejected, badLines, undelivered } = counts;
    print([
      `${acknowledged} acknowledged, ${rejected} rejected, ${badLines} bad lines, ${undelivered} without an answer`,
    ]);
  }
  if (stop !== undefined) {
    complain(describeStop(stop));
    if (hasLines) {
      process.stderr.write(describeResume(counts, file));
    }
  }
}

function describeStop(stop: NonNullable<PushResult["stop"]>): string {
  switch (stop.kind) {
    case "signal":
      return `stopped by ${stop.signal}`;
    case "refused":
      return `the service refuses the caller: ${stop.reason}`;
    case "unreachable":
      return `the service is out of reach: ${stop.reason}`;
  }
}

function describeResume(
  { settledThrough, undelivered }: Pick<PushResult, "settledThrough" | "undelivered">,
  file: string | undefined,
): string {
  const rest = `tail -n +${settledThrough + 1}`;
  const how =
    file === undefined || file === "-" ? rest : `${rest} ${quote(file)} | stats-service push --stdin`;
  const where = `all lines up to ${settledThrough} are settled; to go on: ${how}\n`;
  const doubt =
    undelivered === 0
      ? ""
      : `${undelivered} events after them may have been recorded: lines with an event_id can be sent again safely\n`;
  return where + doubt;
}

/** For a shell. */
function quote(file: string): string {
  return /^[\w./-]+$/.test(file) ? file : `'${file.replaceAll("'", "'\\''")}'`;
}

/** The exit status that tells a shell what became of the events. */
export function exitStatus({ stop, rejected, badLines }: PushResult): number {
  switch (stop?.kind) {
    case "signal":
      return EXIT_SIGNAL[stop.signal];
    case "refused":
      return EXIT_REFUSED;
    case "unreachable":
      return EXIT_UNREACHABLE;
    default:
      return rejected + badLines === 0 ? 0 : 1;
  }
}
