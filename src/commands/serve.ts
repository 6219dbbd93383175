/** The command `serve`: runs the service, in one process or several, until a signal tells it to stop. */
import cluster from "node:cluster";
import type { Logger } from "pino";
import { ProcessLife, runToEnd } from "../app/process-life.js";
import type { Runnable, ServiceAddress } from "../app/runnable.js";
import type { ServiceDeps } from "../app/service.js";
import { type Config, loadConfig, serviceSettings } from "../config.js";
import { canServerUserEnter } from "../postgres/embedded/server-user.js";
import { createLogger } from "../telemetry/logger.js";
import type { EarlySignals } from "../util/early-signals.js";
import { endProcess } from "../util/end-process.js";
import { version } from "../util/package-info.js";
import { type CommandDefinition, describeSettings } from "./command.js";
import { urlOf } from "./service-url.js";

/**
 * One Ctrl-C can arrive more than once: from the terminal, which signals the whole process group, and from a
 * parent such as npm, which passes it on. A signal this soon after the first is the same one.
 */
const SAME_SIGNAL_MS = 1_000;
/** What the parts may take beyond the time-outs that they keep themselves. */
export const WATCHDOG_MARGIN_MS = 20_000;

const SIGNAL_NUMBERS = { SIGINT: 2, SIGTERM: 15 } as const;
/** Where services that run as root keep their state (Filesystem Hierarchy Standard, section 5.8). */
const SYSTEM_DATA_DIR = "/var/lib/stats-service";

export const defineServe: CommandDefinition = (command, line) => {
  command.description(
    "Run the service until SIGTERM or Ctrl-C: then it answers the calls in flight, writes what is queued, and ends. " +
      "SIGHUP reads tokens and certificates again.\n\n" +
      "Ends with 0 if it stopped in order and no event is missing, else with 1; with 2 if a setting cannot be used.",
  );
  const run = () => {
    const dataDir = line.environment.DATA_DIR || defaultDataDir();
    return serve(loadConfig({ ...line.environment, DATA_DIR: dataDir }), line.signals);
  };
  command.addHelpText("after", () => describeSettings(serviceSettings, command.createHelp()));
  line.runs(command, [], run, { handlesSignals: true });
};

/**
 * `.data` in the working directory. PostgreSQL refuses to run as root, and the user it runs as instead may have no
 * access to the working directory (think of /root): then the system's folder for state.
 */
function defaultDataDir(): string {
  return canServerUserEnter(process.cwd()) ? ".data" : SYSTEM_DATA_DIR;
}

/**
 * Resolves with the exit status: 0 when the service stopped because it was told to and its books balance. The code of
 * the service is loaded once signals are heard: it takes most of the start's time, and `--help` does without.
 */
async function serve(config: Config, signals: EarlySignals): Promise<number> {
  if (cluster.worker !== undefined) {
    const { runWorker } = await import("../app/cluster/worker.js");
    return runWorker(config, cluster.worker);
  }
  const logger = createLogger(config.logLevel);
  logger.info({ version, node: process.version, role: config.role, workers: config.workers }, "starting");
  const life = new ProcessLife();
  life.stopOnBugs(logger);
  stopOnSignals(signals, life, logger);
  const { isSound } = await runToEnd({
    service: await (config.workers === 1 ? createService(config, logger) : createPrimary(config, logger)),
    life,
    config,
    logger,
    watchdogMarginMs: WATCHDOG_MARGIN_MS,
    onReady: (address) => logger.info({ ...address, ...urlsOf(address, config) }, "ready"),
    onStartFailure: (reason) => logger.fatal({ reason }, "cannot start"),
  });
  return isSound ? 0 : 1;
}

/** What to call, and what to open in a browser. */
function urlsOf({ host, port, adminPort }: ServiceAddress, { tlsCertFile, adminHost }: Config) {
  const scheme = tlsCertFile === undefined ? "http" : "https";
  return {
    url: urlOf(scheme, host, port),
    ...(adminPort !== undefined && { adminUrl: urlOf("http", adminHost, adminPort) }),
  };
}

async function createService(config: Config, logger: Logger): Promise<Runnable> {
  const { Service } = await import("../app/service.js");
  const service = new Service({ config, logger, container: await createContainer(config, logger) });
  process.on("SIGHUP", () => void service.reload());
  return service;
}

/** An edge loads nothing of PostgreSQL's. */
async function createContainer(config: Config, logger: Logger): Promise<ServiceDeps["container"]> {
  if (config.role === "edge") {
    const { createEdgeContainer } = await import("../app/edge-container.js");
    return createEdgeContainer(config, logger);
  }
  const { createServiceContainer } = await import("../app/container.js");
  return createServiceContainer(config, logger);
}

async function createPrimary(config: Config, logger: Logger): Promise<Runnable> {
  const [{ Primary }, { clusterFork }] = await Promise.all([
    import("../app/cluster/primary.js"),
    import("../app/cluster/worker-process.js"),
  ]);
  const primary = new Primary({ config, logger, fork: clusterFork(logger) });
  process.on("SIGHUP", () => primary.signalWorkers("SIGHUP"));
  // However this process comes to exit (a second signal, the watchdog): no worker outlives it.
  process.once("exit", () => primary.signalWorkers("SIGKILL"));
  return primary;
}

/** The first signal stops in order, a second exits at once. */
function stopOnSignals(signals: EarlySignals, life: ProcessLife, logger: Logger): void {
  let firstSignalAt: number | undefined;
  const onSignal = (signal: keyof typeof SIGNAL_NUMBERS) => {
    const now = performance.now();
    if (firstSignalAt === undefined) {
      firstSignalAt = now;
      logger.info({ signal }, "stopping; a second signal exits at once and loses what is queued in memory");
      life.stop();
    } else if (now - firstSignalAt >= SAME_SIGNAL_MS) {
      logger.fatal({ signal }, "second signal: exiting at once");
      endProcess(128 + SIGNAL_NUMBERS[signal]);
    }
  };
  signals.on("SIGINT", () => onSignal("SIGINT"));
  signals.on("SIGTERM", () => onSignal("SIGTERM"));
}
