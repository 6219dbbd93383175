/** A worker process: a whole service that does what its primary says, and ends in order when that one is gone. */
import type { Worker } from "node:cluster";
import { workerSpoolDir } from "../../buffer/spool/spool-folders.js";
import type { Config } from "../../config.js";
import { createLogger } from "../../telemetry/logger.js";
import { systemClock } from "../../util/clock.js";
import { createServiceContainer } from "../container.js";
import { ProcessLife, runToEnd } from "../process-life.js";
import { Service } from "../service.js";
import type { Assignment } from "./messages.js";
import { PrimaryLink } from "./primary-link.js";

/** Less than the primary's, so that a worker which hangs can say so itself; more than it waits for a disk that hangs. */
const WATCHDOG_MARGIN_MS = 15_000;

/** Runs this process as `worker`; resolves with its exit status. */
export async function runWorker(config: Config, worker: Worker): Promise<number> {
  leaveSignalsToPrimary();
  const link = new PrimaryLink(worker);
  const assignment = await link.assigned;
  if (assignment === undefined) {
    return 0;
  }
  const logger = createLogger(config.logLevel).child({ worker: assignment.worker });
  const ownConfig = workerConfig(config, assignment);
  const container = createServiceContainer(ownConfig, logger, { isWorker: true });
  const service = new Service({ config: ownConfig, logger, container, isWorker: true });
  link.reportHealth(service.health, systemClock);
  link.answerBy(service);
  process.on("SIGHUP", () => void service.reload());
  const life = new ProcessLife();
  life.stopOnBugs(logger);
  void link.stopRequested.then((reason) => {
    logger.info({ reason }, "stopping");
    life.stop();
  });
  const { books, isSound } = await runToEnd({
    service,
    life,
    config,
    logger,
    watchdogMarginMs: WATCHDOG_MARGIN_MS,
    onReady: ({ host, port }) => void link.send({ kind: "ready", host, port }),
    onStartFailure: (reason) => void link.send({ kind: "failed", reason }),
  });
  await link.send({ kind: "books", books });
  return isSound ? 0 : 1;
}

/**
 * A terminal signals the whole process group, and so do some service managers: the primary gets it, too, and tells us.
 * The primary hands SIGHUP on as it is, from our `hello` on; without a listener it would end us.
 */
function leaveSignalsToPrimary(): void {
  const ignore = () => {};
  process.on("SIGINT", ignore).on("SIGTERM", ignore).on("SIGHUP", ignore);
}

/** The settings that one worker runs with: what is for the whole service is divided. */
export function workerConfig(config: Config, { worker, workers, databaseUrl }: Assignment): Config {
  return Object.freeze({
    ...config,
    databaseUrl,
    queueMaxBytes: Math.floor(config.queueMaxBytes / workers),
    spoolMaxBytes: Math.floor(config.spoolMaxBytes / workers),
    spoolDir: workerSpoolDir(config.spoolDir, worker),
    // One counts the events of all.
    counts: config.counts && worker === 1,
  });
}
