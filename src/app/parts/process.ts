/** The parts that every process has: settings, log, time, and what tells how the process is. */
import { randomInt } from "node:crypto";
import { asValue } from "awilix";
import type { Logger } from "pino";
import type { Config } from "../../config.js";
import { Health } from "../../server/health.js";
import { Metrics } from "../../telemetry/metrics.js";
import { StatusBoard } from "../../telemetry/status-board.js";
import { findTracer, Tracing } from "../../telemetry/tracing.js";
import { type Clock, systemClock } from "../../util/clock.js";
import { version } from "../../util/package-info.js";
import { part, type Registrations } from "./part.js";

export interface ProcessParts {
  readonly config: Config;
  readonly logger: Logger;
  readonly clock: Clock;
  /** In [0, 1). */
  readonly random: () => number;
  /** Aborts what the start waits for, when the start is given up. */
  readonly starting: AbortController;
  /** Aborts the streams that clients keep open, when the service stops. */
  readonly stopping: AbortController;
  /** undefined: METRICS is off. */
  readonly metrics: Metrics | undefined;
  /** undefined: no SDK of OpenTelemetry was loaded. */
  readonly tracing: Tracing | undefined;
  readonly health: Health;
  readonly statusBoard: StatusBoard;
}

export function processParts(config: Config, logger: Logger): Registrations<ProcessParts> {
  return {
    config: asValue(config),
    logger: asValue(logger),
    clock: asValue(systemClock),
    random: asValue(() => randomInt(2 ** 32) / 2 ** 32),
    starting: asValue(new AbortController()),
    stopping: asValue(new AbortController()),
    metrics: part(({ config, clock }: ProcessParts) =>
      config.metrics ? new Metrics({ clock, role: config.role }) : undefined,
    ),
    tracing: part(createTracing),
    health: part(
      () => new Health(),
      (health) => health.close(),
    ),
    statusBoard: part(({ health, clock }: ProcessParts) => new StatusBoard({ version, health, clock })),
  };
}

function createTracing({ logger }: ProcessParts): Tracing | undefined {
  const tracer = findTracer();
  if (tracer !== undefined) {
    logger.info("traces are on: an SDK of OpenTelemetry is loaded");
  }
  return tracer && new Tracing(tracer);
}
