/** A worker's end of the channel to its primary: hears what to do and tells how it is; it decides nothing. */
import type { Worker } from "node:cluster";
import type { HealthProbes } from "../../server/admin-server.js";
import type { MetricsReading } from "../../telemetry/metrics-route.js";
import type { ServiceStatus } from "../../telemetry/service-status.js";
import type { Clock } from "../../util/clock.js";
import { type Assignment, readToWorker, type ToPrimary } from "./messages.js";

const REPORT_MS = 1_000;

/** What the primary may ask for. Neither must reject. */
export interface WorkerAnswers {
  status(): Promise<ServiceStatus>;
  metrics(): Promise<MetricsReading>;
}

/** The channel, from the worker's first moment on. */
export class PrimaryLink {
  readonly #worker: Worker;
  /** Resolves with what this worker is to be; undefined: it is to stop, or the primary ended, before that was said. */
  readonly assigned: Promise<Assignment | undefined>;
  /** Resolves, with the reason, when the worker is to stop. */
  readonly stopRequested: Promise<string>;
  #answers: WorkerAnswers | undefined;

  constructor(worker: Worker) {
    this.#worker = worker;
    // Without this Node ends a worker at once when its primary is gone, with all that is queued.
    worker.exitedAfterDisconnect = true;
    let assign: (assignment: Assignment | undefined) => void = () => {};
    let requestStop: (reason: string) => void = () => {};
    this.assigned = new Promise((resolve) => {
      assign = resolve;
    });
    this.stopRequested = new Promise((resolve) => {
      requestStop = resolve;
    });
    const stop = (reason: string) => {
      assign(undefined);
      requestStop(reason);
    };
    worker.on("message", (raw: unknown) => {
      const message = readToWorker(raw);
      if (message?.kind === "start") {
        assign(message.assignment);
      } else if (message?.kind === "stop") {
        stop("the primary says so");
      } else if (message?.kind === "ask") {
        void this.#answer(message.about, message.request);
      }
    });
    worker.on("disconnect", () => stop("the primary is gone"));
    void this.send({ kind: "hello" });
  }

  /** Resolves when the message is in the channel, or when there is nobody any more to hear it. */
  send(message: ToPrimary): Promise<void> {
    return new Promise((resolve) => {
      if (this.#worker.isConnected()) {
        this.#worker.send(message, () => resolve());
      } else {
        resolve();
      }
    });
  }

  /** Answers the primary, from here on, when it asks how things are. */
  answerBy(answers: WorkerAnswers): void {
    this.#answers = answers;
  }

  async #answer(about: keyof WorkerAnswers, request: number): Promise<void> {
    const answers = this.#answers;
    if (answers !== undefined) {
      await this.send(
        about === "status"
          ? { kind: "status", request, status: await answers.status() }
          : { kind: "metrics", request, metrics: await answers.metrics() },
      );
    }
  }

  /** Tells every second how the worker is, for as long as the process runs: silence means that it hangs. */
  reportHealth(health: HealthProbes, clock: Clock): void {
    const [alive, ready] = [health.liveness(), health.readiness()];
    void this.send({
      kind: "health",
      dead: alive.ok ? null : alive.reason,
      unready: ready.ok ? null : ready.reason,
    });
    clock.schedule(REPORT_MS, () => this.reportHealth(health, clock));
  }
}
