/** A worker process as its keeper sees it: the one that node:cluster forks, and the questions put to it. */
import cluster from "node:cluster";
import type { Logger } from "pino";
import type { Clock } from "../../util/clock.js";
import { messageOf } from "../../util/error-message.js";
import type { ToWorker } from "./messages.js";

/** A process that was forked. */
export interface WorkerProcess {
  send(message: ToWorker): void;
  signal(signal: NodeJS.Signals): void;
}

/** How a process ended. */
export interface WorkerEnd {
  /** Exit status; null when a signal ended it. */
  readonly status: number | null;
  /** For the operator, for example `ended by SIGKILL`. */
  readonly how: string;
}

/** What a process tells whoever forked it. */
export interface WorkerEvents {
  readonly onMessage: (message: unknown) => void;
  /** Once, after the last message. */
  readonly onEnd: (end: WorkerEnd) => void;
}

export type ForkWorker = (events: WorkerEvents) => WorkerProcess;

/** Forks this program with its own arguments and environment. */
export function clusterFork(logger: Logger): ForkWorker {
  // Each worker accepts by itself. Under round robin the primary hands connections over, and one that is on its way to
  // a worker which dies is held by nobody then: its caller hangs.
  cluster.schedulingPolicy = cluster.SCHED_NONE;
  return ({ onMessage, onEnd }) => {
    const worker = cluster.fork();
    worker.on("message", onMessage);
    // Comes when the process has ended and its last messages have been read. The worker's own "disconnect" may never
    // come: not when the process dies while a connection is on its way to it.
    worker.process.once("close", (status: number | null, signal: NodeJS.Signals | null) => {
      onEnd({ status, how: signal === null ? `exit status ${status}` : `ended by ${signal}` });
    });
    // Also of the connections that cluster itself hands to a worker which has just died.
    worker.on("error", (error: Error) => {
      logger.debug({ err: error }, "a message did not reach a worker");
      if (worker.process.pid === undefined) {
        onEnd({ status: null, how: `the system could not start it: ${messageOf(error)}` });
      }
    });
    return {
      send: (message) =>
        void worker.send(message, (error) => error && logger.debug({ err: error }, "not sent")),
      signal: (signal) => void worker.process.kill(signal),
    };
  };
}

/** A worker looks at its database for two seconds at most. */
const TIMEOUT_MS = 3_000;

/** The questions of one kind that have no answer yet. */
export class WorkerRequests<Answer> {
  readonly #clock: Clock;
  readonly #open = new Map<number, (answer: Answer | undefined) => void>();
  #last = 0;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Asks by `send`; resolves with the answer, or undefined when there is none in time. */
  ask(send: (request: number) => void): Promise<Answer | undefined> {
    this.#last += 1;
    const request = this.#last;
    return new Promise((resolve) => {
      const cancel = this.#clock.schedule(TIMEOUT_MS, () => this.answer(request, undefined));
      this.#open.set(request, (answer) => {
        cancel();
        resolve(answer);
      });
      send(request);
    });
  }

  /** The answer has come. One that nobody waits for any more is forgotten. */
  answer(request: number, answer: Answer | undefined): void {
    this.#open.get(request)?.(answer);
    this.#open.delete(request);
  }

  /** No answer will come any more. */
  abandon(): void {
    for (const request of this.#open.keys()) {
      this.answer(request, undefined);
    }
  }
}
