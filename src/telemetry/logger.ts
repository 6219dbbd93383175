/** The log: JSON lines on standard output, or lines for people when that is a terminal; it never waits or throws. */
import { createRequire } from "node:module";
import { isatty } from "node:tty";
import { type Logger, pino } from "pino";
import type { prettyFactory } from "pino-pretty";
import { LogDestination } from "./log-destination.js";

const STDOUT_FD = 1;

/** Makes the root logger of this process. `level` is one of pino's, or `silent`. */
export function createLogger(level: string): Logger {
  const logger: Logger = pino(
    {
      name: "stats-service",
      level,
      formatters: { level: (label) => ({ level: label }) },
      timestamp: pino.stdTimeFunctions.isoTime,
    },
    openDestination((lines) => logger.warn({ lines }, "lines of the log before the last one are lost")),
  );
  return logger;
}

function openDestination(onRecovered: (lines: number) => void): { write(line: string): void } {
  const destination = new LogDestination({ onRecovered });
  process.once("exit", () => destination.end());
  if (!isatty(STDOUT_FD)) {
    return destination;
  }
  const prettify = loadPretty()({
    ignore: "pid,hostname,name",
    translateTime: "SYS:HH:MM:ss.l",
    singleLine: true,
  });
  return { write: (line) => destination.write(prettify(line)) };
}

/** Only a terminal needs it, and waits for it. */
function loadPretty(): typeof prettyFactory {
  return (createRequire(import.meta.url)("pino-pretty") as { prettyFactory: typeof prettyFactory })
    .prettyFactory;
}
