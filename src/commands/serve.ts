/** The command `serve`: runs the service until a signal tells it to stop. */
import type { Logger } from "pino";
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
export const WATCHDOG_MARGIN_MS = 20_000;

const SIGNAL_NUMBERS = { SIGINT: 2, SIGTERM: 15 } as const;

/** Resolves with the exit status: 0 when the service stopped because it was told to and its books balance. */
export async function serveCommand(config: Config): Promise<number> {
  const logger = createLogger(config.logLevel);
  logger.info({ version, node: process.version }, "starting");
  const service = new Service({ config, logger });
  const life = watchProcess(logger);
  process.on("SIGHUP", () => void service.reload());
  await Promise.race([life.end, startFailure(service, life, logger)]);
  startWatchdog(config, logger);
  const { isBalanced } = await service.stop();
  return isBalanced && !life.hasFailed ? 0 : 1;
}

/** What has become of the process. */
interface ProcessLife {
  /** Resolves at the first reason to stop. */
  readonly end: Promise<void>;
  /** True when there was a reason to stop that should not have been. */
  hasFailed: boolean;
}

/** Listens to signals and to what nobody caught, until the process ends. */
function watchProcess(logger: Logger): ProcessLife {
  const life = { end: Promise.resolve(), hasFailed: false };
  life.end = new Promise<void>((resolve) => {
    let firstSignalAt: number | undefined;
    const onSignal = (signal: "SIGINT" | "SIGTERM") => {
      const now = performance.now();
      if (firstSignalAt === undefined) {
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
      life.hasFailed = true;
      resolve();
    };
    process.on("uncaughtException", onBug).on("unhandledRejection", onBug);
  });
  return life;
}

/** Starts the service; resolves only if that fails. */
function startFailure(service: Service, life: ProcessLife, logger: Logger): Promise<void> {
  return new Promise((resolve) => {
    service.start().catch((error: unknown) => {
      if (!(error instanceof StartCancelledError)) {
        logger.fatal({ reason: messageOf(error) }, "cannot start");
        life.hasFailed = true;
      }
      resolve();
    });
  });
}

/** Every wait of the stop has a deadline of its own; this is for the one that someone forgot. */
function startWatchdog(config: Config, logger: Logger): void {
  const timeoutMs = config.lameDuckMs + config.shutdownTimeoutMs + WATCHDOG_MARGIN_MS;
  setTimeout(() => {
    logger.fatal("the shutdown hangs; the process exits, and what is queued in memory is lost");
    process.exit(1);
  }, timeoutMs).unref();
}
