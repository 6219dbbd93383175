/** The log: JSON lines on standard output, written before the call returns so that an exit loses none. */
import { type Logger, pino } from "pino";

/** Makes the root logger. `level` is one of pino's, or `silent`. */
export function createLogger(level: string): Logger {
  return pino({
    name: "stats-service",
    level,
    formatters: { level: (label) => ({ level: label }) },
    timestamp: pino.stdTimeFunctions.isoTime,
  });
}
