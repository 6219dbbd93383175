/** The log: JSON lines on standard output, written before the call returns so that an exit loses none. */
import { type Logger, pino } from "pino";

const STDOUT_FD = 1;

/** Makes the root logger. `level` is one of pino's, or `silent`. */
export function createLogger(level: string): Logger {
  return pino(
    {
      name: "stats-service",
      level,
      formatters: { level: (label) => ({ level: label }) },
      timestamp: pino.stdTimeFunctions.isoTime,
    },
    // By default pino writes asynchronously where standard output is not a terminal, and an exit loses the last lines.
    pino.destination({ dest: STDOUT_FD, sync: true }),
  );
}
