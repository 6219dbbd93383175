/** From start to the end of the process: runs a service until there is a reason to stop; it handles no signal. */
import type { Logger } from "pino";
import type { Config } from "../config.js";
import { endProcess } from "../util/end-process.js";
import { messageOf } from "../util/error-message.js";
import { type FinalBooks, type Runnable, type ServiceAddress, StartCancelledError } from "./runnable.js";

/** Whether this process has a reason to stop, and whether it is one that should not be. */
export class ProcessLife {
  /** Resolves at the first reason to stop. */
  readonly end: Promise<void>;
  #resolveEnd: () => void = () => {};
  #hasFailed = false;

  constructor() {
    this.end = new Promise((resolve) => {
      this.#resolveEnd = resolve;
    });
  }

  /** Takes what nobody caught for a reason to stop: a bug must not take the queue with it. */
  stopOnBugs(logger: Logger): void {
    const onBug = (error: unknown) => {
      logger.fatal({ err: error }, "unexpected error; stopping in order");
      this.fail();
    };
    process.on("uncaughtException", onBug).on("unhandledRejection", onBug);
  }

  get hasFailed(): boolean {
    return this.#hasFailed;
  }

  /** There is a reason to stop. */
  stop(): void {
    this.#resolveEnd();
  }

  /** There is a reason to stop that should not have been. */
  fail(): void {
    this.#hasFailed = true;
    this.#resolveEnd();
  }
}

export interface RunOptions {
  readonly service: Runnable;
  readonly life: ProcessLife;
  readonly config: Config;
  readonly logger: Logger;
  /** What the stop may take beyond the time-outs that the parts keep themselves, in milliseconds. */
  readonly watchdogMarginMs: number;
  readonly onReady: (address: ServiceAddress) => void;
  /** Is told why, in one line. */
  readonly onStartFailure: (reason: string) => void;
}

/** Starts the service and stops it at the end of the process's life. Sound: it was told to, and the books balance. */
export async function runToEnd(options: RunOptions): Promise<{ books: FinalBooks; isSound: boolean }> {
  const { service, life } = options;
  void start(options);
  await life.end;
  startWatchdog(options);
  const books = await service.stop();
  return { books, isSound: books.isBalanced && !life.hasFailed };
}

async function start({ service, life, onReady, onStartFailure }: RunOptions): Promise<void> {
  try {
    onReady(await service.start());
  } catch (error) {
    if (!(error instanceof StartCancelledError)) {
      onStartFailure(messageOf(error));
      life.fail();
    }
  }
}

/** Every wait of the stop has a deadline of its own; this is for the one that someone forgot. */
function startWatchdog({ config, logger, watchdogMarginMs }: RunOptions): void {
  const timeoutMs = config.lameDuckMs + config.shutdownTimeoutMs + watchdogMarginMs;
  setTimeout(() => {
    logger.fatal("the shutdown hangs; the process exits, and what is queued in memory is lost");
    endProcess(1);
  }, timeoutMs).unref();
}
