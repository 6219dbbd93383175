/** What the command `push` says when it is over, to people and to shells. */
import { EXIT_REFUSED, EXIT_UNREACHABLE } from "../command.js";
import { complain, print } from "../print.js";
import type { PushResult } from "./push-run.js";

/** What a shell reports of a process that a signal ended. */
const EXIT_SIGNAL = { SIGINT: 130, SIGTERM: 143 } as const;

/** Prints the result on standard output and, if the run ended early, why and how to go on on standard error. */
export function reportPush(
  result: PushResult,
  { isJson, hasLines }: { isJson: boolean; hasLines: boolean },
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
      process.stderr.write(describeResume(counts.settledThrough, counts.undelivered));
    }
  }
}

function describeStop(stop: NonNullable<PushResult["stop"]>): string {
  switch (stop.kind) {
    case "signal":
      return `stopped by ${stop.signal}`;
    case "refused":
      return `the service refuses the call: ${stop.error.message}`;
    case "unreachable":
      return `the service is out of reach: ${stop.error.message}`;
  }
}

function describeResume(settledThrough: number, undelivered: number): string {
  const where = `all lines up to ${settledThrough} are settled; to go on: tail -n +${settledThrough + 1}\n`;
  const doubt =
    undelivered === 0
      ? ""
      : `${undelivered} events after them may have been recorded: lines with an event_id can be sent again safely\n`;
  return where + doubt;
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
