/** Logging from where events are in hand: a log that cannot be written, to a full disk perhaps, takes none with it. */
import type { Logger } from "pino";

/** Logs; without effect when that fails, since there is nowhere to say so. */
export function logCarefully(
  logger: Logger,
  level: "debug" | "info" | "warn" | "error",
  fields: object,
  message: string,
): void {
  try {
    logger[level](fields, message);
  } catch {
    // There is nowhere to say so.
  }
}
