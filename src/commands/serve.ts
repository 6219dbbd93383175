/** The command `serve`: runs the service until a signal tells it to stop. */
import type { Config } from "../config.js";
import { messageOf } from "../error-message.js";
import { version } from "../package-info.js";
import { Service, StartCancelledError } from "../service.js";
import { createLogger } from "../telemetry/logger.js";

/**
 * One Ctrl-C can arrive more than once: from the terminal, which signals the whole process group, and from a
 * parent such as npm, which passes it on. A signal this soon after the first is the same one.
 */
const SAME_SIGNAL_MS = 1_000;
/** What the parts may take beyond the time-outs that they keep themselves. */
const WATCHDOG_MARGIN_MS = 15_000;

const SIGNAL_NUMBERS = { SIGINT: 2, SIGTERM: 15 } as const;

/** Resolves with the exit status: 0 when the service stopped and its books balance. */
export async function serveCommand(config: Config): Promise<number> {
  const logger = createLogger(config.logLevel);
  logger.info({ version, node: process.version }, "starting");
  const service = new Service({ config, logger });
  let stopping: Promise<boolean> | undefined;
  let firstSignalAt = 0;
  let failed = false;

  const stop = (): Promise<boolean> => {
    stopping ??= service.stop();
    // Every wait on the way has a deadline of its own; this is for the one that someone forgot.
    setTimeout(
      () => {
        logger.fatal("the shutdown hangs; the process exits, and what is queued in memory is lost");
        process.exit(1);
      },
      config.lameDuckMs + config.shutdownTimeoutMs + WATCHDOG_MARGIN_MS,
    ).unref();
    return stopping;
  };

  const stopped = new Promise<void>((resolve) => {
    const onSignal = (signal: "SIGINT" | "SIGTERM") => {
      const now = performance.now();
      if (firstSignalAt === 0) {
        firstSignalAt = now;
        logger.info({ signal }, "stopping; a second signal exits at once and loses what is queued in memory");
        resolve();
      } else if (now - firstSignalAt >= SAME_SIGNAL_MS) {
        logger.fatal({ signal }, "second signal: exiting at once");
        process.exit(128 + SIGNAL_NUMBERS[signal]);
      }
    };
    process.on("SIGINT", onSignal).on("SIGTERM", onSignal);
    // A bug must not take the queue with it: stop in order, then exit non-zero.
    const onBug = (error: unknown) => {
      logger.fatal({ err: error }, "unexpected error; stopping in order");
      failed = true;
      resolve();
    };
    process.on("uncaughtException", onBug).on("unhandledRejection", onBug);
  });

  const started = service.start().then(
    () => stopped,
    (error: unknown) => {
      if (!(error instanceof StartCancelledError)) {
        logger.fatal({ reason: messageOf(error) }, "cannot start");
        failed = true;
      }
    },
  );
  await Promise.race([started, stopped]);
  const isBalanced = await stop();
  return isBalanced && !failed ? 0 : 1;
}
