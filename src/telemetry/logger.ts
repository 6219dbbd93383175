/** The log: JSON lines on standard output, written before the call returns so that an exit loses none; it never throws. */
import { type Logger, pino } from "pino";
import { LogDestination } from "./log-destination.js";

/** Makes the root logger. `level` is one of pino's, or `silent`. */
export function createLogger(level: string): Logger {
  const logger: Logger = pino(
    {
      name: "stats-service",
      level,
      formatters: { level: (label) => ({ level: label }) },
      timestamp: pino.stdTimeFunctions.isoTime,
    },
    new LogDestination({
      onRecovered: (lines) => logger.warn({ lines }, "lines of the log before the last one are lost"),
    }),
  );
  return logger;
}
