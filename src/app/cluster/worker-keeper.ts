/** Keeps one worker process running, from the first start to the stop; it knows nothing of events. */
import type { Logger } from "pino";
import type { BoundAddress } from "../../server/listen.js";
import { type MetricsReading, WorkerMetrics } from "../../telemetry/metrics-route.js";
import type { ServiceStatus } from "../../telemetry/service-status.js";
import { backoffMs } from "../../util/backoff.js";
import type { Clock } from "../../util/clock.js";
import type { FinalBooks } from "../runnable.js";
import { type Assignment, readToPrimary } from "./messages.js";
import { type ForkWorker, type WorkerEnd, type WorkerProcess, WorkerRequests } from "./worker-process.js";

/** The worker ended before it was ready for the first time; the message is one line for the operator. */
export class WorkerStartError extends Error {
  override readonly name = "WorkerStartError";
}

export interface WorkerKeeperDeps {
  readonly assignment: Assignment;
  readonly fork: ForkWorker;
  readonly clock: Clock;
  /** In [0, 1). */
  readonly random: () => number;
  readonly logger: Logger;
}

/** How a worker's life was. */
export interface WorkerRecord {
  /** It never was ready, and so has promised nothing; or never died since, and ended with status 0 and its books. */
  readonly isSound: boolean;
  /** Of each of its processes that stopped in order. */
  readonly books: readonly FinalBooks[];
}

const BACKOFF = { minMs: 100, firstMs: 500, maxMs: 30_000 };
/** A process that ran this long was not part of a row of deaths. */
const STABLE_MS = 60_000;
/** This many deaths in a row are more than an accident. */
const KEEPS_DYING = 3;
/** A worker speaks every second; one that is silent for so long hangs. */
const SILENCE_MAX_MS = 10_000;

/**
 * - `new` → `starting` by start(), `ended` by stop()
 * - `starting` → `ready` when the worker takes events
 * - `starting`, `ready` → `waiting` when the process ends; the first time it is started: → `ended`
 * - `waiting` → `starting` after a while, `ended` by stop()
 * - `starting`, `ready` → `stopping` by stop()
 * - `stopping` → `ended` when the process ends
 */
type State = "new" | "starting" | "ready" | "waiting" | "stopping" | "ended";

/** One worker: forked by start(), forked again whenever it dies, told to end by stop(). */
export class WorkerKeeper {
  readonly #deps: WorkerKeeperDeps;
  readonly #books: FinalBooks[] = [];
  readonly #ended: Promise<void>;
  readonly #statusRequests: WorkerRequests<ServiceStatus>;
  readonly #metricsRequests: WorkerRequests<MetricsReading>;
  readonly #metrics = new WorkerMetrics();
  #resolveEnded: () => void = () => {};
  #state: State = "new";
  #process: WorkerProcess | undefined;
  #firstStart: { resolve(address: BoundAddress): void; reject(error: Error): void } | undefined;
  #cancelRestart: () => void = () => {};
  /** The process that is there can hear. */
  #hasLoaded = false;
  /** The process that is there has handed in its books. */
  #hasBooks = false;
  /** Why the process that is there could not start. */
  #startFault: string | undefined;
  #lastDeath = "";
  #deathsInARow = 0;
  #isSound = true;
  /** When it was last ready, and when it last spoke, by {@link Clock.elapsed}. */
  #readyAt: number | undefined;
  #heardAt = 0;
  #cancelSilence: () => void = () => {};
  #isSilent = false;
  #dead: string | null = null;
  #unready: string | null = "starting";

  constructor(deps: WorkerKeeperDeps) {
    this.#deps = deps;
    this.#statusRequests = new WorkerRequests(deps.clock);
    this.#metricsRequests = new WorkerRequests(deps.clock);
    this.#ended = new Promise((resolve) => {
      this.#resolveEnded = resolve;
    });
  }

  /**
   * Resolves when the worker takes events.
   *
   * @throws WorkerStartError when it ended instead; only later deaths are made good
   */
  start(): Promise<BoundAddress> {
    return new Promise((resolve, reject) => {
      this.#firstStart = { resolve, reject };
      this.#fork();
    });
  }

  /** Lets the worker stop in order; resolves when it has ended. Safe at any time and more than once. */
  async stop(): Promise<WorkerRecord> {
    if (this.#state === "starting" || this.#state === "ready") {
      this.#state = "stopping";
      this.#process?.send({ kind: "stop" });
    } else if (this.#state === "new" || this.#state === "waiting") {
      this.#cancelRestart();
      this.#end();
    }
    await this.#ended;
    return { isSound: this.#isSound, books: this.#books };
  }

  /**
   * Passes a signal on to the process, if there is one. To one whose program still loads nothing but SIGKILL: another
   * would end it, and what SIGHUP asks to be read again it is yet to read for the first time.
   */
  signal(signal: NodeJS.Signals): void {
    if (this.#hasLoaded || signal === "SIGKILL") {
      this.#process?.signal(signal);
    }
  }

  /** How the worker is; undefined when it does not say. Never rejects, and takes a few seconds at most. */
  async status(): Promise<ServiceStatus | undefined> {
    const worker = this.#state === "ready" ? this.#process : undefined;
    return await (worker &&
      this.#statusRequests.ask((request) => worker.send({ kind: "ask", about: "status", request })));
  }

  /** Its metrics, to be added up, as far as they are known. Never rejects, and takes a few seconds at most. */
  async metrics(): Promise<readonly MetricsReading[]> {
    // Also of one that drains.
    const worker = this.#readyAt === undefined ? undefined : this.#process;
    await (worker &&
      this.#metricsRequests.ask((request) => worker.send({ kind: "ask", about: "metrics", request })));
    return this.#metrics.read();
  }

  /** Why the worker is to be taken for dead; a death that was just made good is no reason. */
  fault(): string | undefined {
    const now = this.#deps.clock.elapsed();
    if (this.#deathsInARow >= KEEPS_DYING && !this.#isStable()) {
      return `it keeps dying, ${this.#deathsInARow} times in a row: ${this.#lastDeath}`;
    }
    if (this.#process !== undefined && now - this.#heardAt >= SILENCE_MAX_MS) {
      return `it has not been heard of for ${Math.floor((now - this.#heardAt) / 1_000)} s`;
    }
    return this.#dead ?? undefined;
  }

  /** Why it takes no events; undefined when it does. */
  notReadyReason(): string | undefined {
    return this.#unready ?? undefined;
  }

  #fork(): void {
    const { fork, clock } = this.#deps;
    this.#state = "starting";
    this.#startFault = undefined;
    this.#hasLoaded = false;
    this.#hasBooks = false;
    this.#heardAt = clock.elapsed();
    this.#process = fork({ onMessage: (message) => this.#hear(message), onEnd: (end) => this.#onEnd(end) });
  }

  #hear(raw: unknown): void {
    const message = readToPrimary(raw);
    if (message === undefined) {
      return;
    }
    this.#onWord();
    switch (message.kind) {
      case "hello":
        this.#hasLoaded = true;
        this.#process?.send(
          this.#state === "stopping"
            ? { kind: "stop" }
            : { kind: "start", assignment: this.#deps.assignment },
        );
        break;
      case "ready":
        this.#onReady(message);
        break;
      case "failed":
        this.#startFault = message.reason;
        break;
      case "health":
        this.#dead = message.dead;
        this.#unready = message.unready;
        break;
      case "status":
        this.#statusRequests.answer(message.request, message.status);
        break;
      case "metrics":
        // Also when it comes too late to be waited for.
        this.#metrics.heard(message.metrics);
        this.#metricsRequests.answer(message.request, message.metrics);
        break;
      case "books":
        this.#books.push(message.books);
        this.#hasBooks = true;
        break;
    }
  }

  /** One that hangs is told of, not killed: it may come back, with all that it holds in memory. */
  #onWord(): void {
    const { clock, logger, assignment } = this.#deps;
    const { worker } = assignment;
    this.#heardAt = clock.elapsed();
    this.#cancelSilence();
    this.#cancelSilence = clock.schedule(SILENCE_MAX_MS, () => {
      this.#isSilent = true;
      logger.error(
        { worker, silentMs: SILENCE_MAX_MS },
        "a worker hangs; it is let alone, and may come back",
      );
    });
    if (this.#isSilent) {
      this.#isSilent = false;
      logger.info({ worker }, "the worker is heard of again");
    }
  }

  #onReady({ host, port }: BoundAddress): void {
    if (this.#state !== "starting") {
      return;
    }
    this.#state = "ready";
    this.#readyAt = this.#heardAt;
    this.#unready = null;
    if (this.#firstStart === undefined) {
      // With PORT=0 the port is another one if no worker was left to hold the one before.
      const { logger, assignment } = this.#deps;
      logger.info({ worker: assignment.worker, host, port }, "the worker takes events again");
    }
    this.#firstStart?.resolve({ host, port });
    this.#firstStart = undefined;
  }

  #onEnd({ status, how }: WorkerEnd): void {
    if (this.#process === undefined) {
      return;
    }
    this.#process = undefined;
    this.#cancelSilence();
    this.#isSilent = false;
    this.#statusRequests.abandon();
    this.#metricsRequests.abandon();
    this.#metrics.processEnded();
    this.#dead = null;
    if (this.#state === "stopping") {
      // One that was not ready yet has promised nothing; a Ctrl-C may end it before it can ignore that.
      this.#isSound &&= (status === 0 && this.#hasBooks) || this.#readyAt === undefined;
      this.#end();
      return;
    }
    if (this.#firstStart === undefined) {
      this.#isSound = false;
      this.#restartLater(this.#startFault ?? how);
    } else {
      this.#startFault ??= `worker ${this.#deps.assignment.worker} ended before it was ready: ${how}`;
      this.#end();
    }
  }

  #restartLater(reason: string): void {
    const { clock, random, logger, assignment } = this.#deps;
    const wasReady = this.#state === "ready";
    this.#deathsInARow = this.#isStable() ? 1 : this.#deathsInARow + 1;
    this.#readyAt = undefined;
    this.#lastDeath = reason;
    this.#unready = `it died and is started again: ${reason}`;
    this.#state = "waiting";
    const retryInMs = backoffMs(this.#deathsInARow, BACKOFF, random);
    logger.error(
      { worker: assignment.worker, reason, deathsInARow: this.#deathsInARow, retryInMs },
      wasReady
        ? "a worker died and is started again; what it had in memory alone is lost"
        : "a worker could not be started again; the next try follows",
    );
    this.#cancelRestart = clock.schedule(retryInMs, () => this.#fork());
  }

  #isStable(): boolean {
    return this.#readyAt !== undefined && this.#deps.clock.elapsed() - this.#readyAt >= STABLE_MS;
  }

  #end(): void {
    this.#state = "ended";
    this.#unready = "stopped";
    this.#firstStart?.reject(new WorkerStartError(this.#startFault ?? "the worker was told to stop"));
    this.#firstStart = undefined;
    this.#resolveEnded();
  }
}
