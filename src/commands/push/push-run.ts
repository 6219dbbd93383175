/** One run of the command `push`: feeds lines to a buffering client until the input or someone's patience ends. */
import { Code } from "@connectrpc/connect";
import type { BufferingClient } from "../../../client/src/buffering-client.js";
import type { StatsEvent } from "../../../client/src/event.js";
import type { BufferingOptions, Failure, Rejection } from "../../../client/src/options.js";
import type { EventLine } from "./event-lines.js";
import { Patience, type PatienceDeps } from "./patience.js";

/** Why a run ended before its input did. */
export type PushStop =
  | { readonly kind: "signal"; readonly signal: "SIGINT" | "SIGTERM" }
  | { readonly kind: "unreachable" | "refused"; readonly reason: string };

export interface PushResult {
  readonly acknowledged: number;
  /** Events that can never be accepted. */
  readonly rejected: number;
  /** Lines that are no event. */
  readonly badLines: number;
  /** Events that were read and have no answer. They may have been recorded all the same. */
  readonly undelivered: number;
  /** Up to this line all are settled; the place to resume is the next one. */
  readonly settledThrough: number;
  readonly stop: PushStop | undefined;
}

export interface PushRunDeps extends Omit<PatienceDeps, "onGivenUp"> {
  readonly createClient: (options: BufferingOptions) => BufferingClient;
  /** Told what is wrong with a line. */
  readonly onFault: (line: number, what: string) => void;
}

/** Events that are read ahead of their answers. */
export const EVENTS_MAX = 10_000;
const CALL_TIMEOUT_MS = 10_000;
/** The last that was read may still be on its way when a signal comes. */
const SIGNAL_FLUSH_MS = 3_000;

const REFUSING_CODES: ReadonlySet<Code> = new Set([Code.Unauthenticated, Code.PermissionDenied]);

/**
 * Which lines have been read, and which of them are settled: those whose event was acknowledged or rejected, and those
 * that are no event.
 */
class LineLedger {
  /** By the event, in the order of the lines. */
  readonly #pending = new Map<StatsEvent, number>();
  #last = 0;
  /** Lines that are no event. */
  bad = 0;

  /** The line was read; its event is on its way. */
  read(line: number, event: StatsEvent): void {
    this.#last = line;
    this.#pending.set(event, line);
  }

  /** The line was read, and is no event. */
  readBad(line: number): void {
    this.#last = line;
    this.bad += 1;
  }

  /** Returns the line of an event that has its answer. */
  settle(event: StatsEvent): number | undefined {
    const line = this.#pending.get(event);
    this.#pending.delete(event);
    return line;
  }

  /** Events that were read have no answer yet. */
  get areWaiting(): boolean {
    return this.#pending.size > 0;
  }

  /** Up to this line all are settled, this one included; 0: none. */
  get settledThrough(): number {
    const [oldest] = this.#pending.values();
    return oldest === undefined ? this.#last : oldest - 1;
  }
}

/** Runs once. */
export class PushRun {
  readonly #deps: PushRunDeps;
  readonly #lines = new LineLedger();
  readonly #client: BufferingClient;
  readonly #patience: Patience;
  #stop: PushStop | undefined;
  #endEarly: () => void = () => undefined;
  readonly #stopped: Promise<void>;

  constructor(deps: PushRunDeps) {
    this.#deps = deps;
    this.#patience = new Patience({
      ...deps,
      onGivenUp: (reason) => this.stop({ kind: "unreachable", reason }),
    });
    this.#stopped = new Promise((resolve) => {
      this.#endEarly = resolve;
    });
    this.#client = deps.createClient({
      // One after the other, so that what is settled is a beginning of the input.
      maxCalls: 1,
      batchEvents: 5_000,
      maxEvents: EVENTS_MAX,
      callTimeoutMs: Math.min(CALL_TIMEOUT_MS, deps.patienceMs),
      onAcknowledged: (events) => {
        for (const event of events) {
          this.#lines.settle(event);
        }
        this.#answered();
      },
      onRejected: (rejection) => this.#reject(rejection),
      onError: (failure) => this.#judge(failure),
    });
  }

  /** Resolves when the run is to end early. */
  get stopped(): Promise<void> {
    return this.#stopped;
  }

  get counts(): { acknowledged: number; faulty: number } {
    const { acknowledged, rejected } = this.#client.counters;
    return { acknowledged, faulty: rejected + this.#lines.bad };
  }

  /** Ends the run early: no line is read any more. */
  stop(reason: PushStop): void {
    this.#stop ??= reason;
    this.#endEarly();
  }

  /** Pushes the lines and waits for their answers. */
  async push(lines: AsyncIterable<EventLine>): Promise<PushResult> {
    await this.#feed(lines);
    // As long as it takes: patience ends it.
    await Promise.race([this.#flush(Number.POSITIVE_INFINITY), this.#stopped]);
    if (this.#stop?.kind === "signal" && !this.#patience.isFailing) {
      await this.#flush(SIGNAL_FLUSH_MS);
    }
    const { undelivered } = await this.#client.close({ timeoutMs: 0 });
    this.#patience.close();
    const { acknowledged, rejected } = this.#client.counters;
    const { bad: badLines, settledThrough } = this.#lines;
    return { acknowledged, rejected, badLines, undelivered, settledThrough, stop: this.#stop };
  }

  async #feed(lines: AsyncIterable<EventLine>): Promise<void> {
    for await (const line of lines) {
      if ("event" in line) {
        await Promise.race([this.#client.whenRoom(), this.#stopped]);
      }
      if (this.#stop !== undefined) {
        return;
      }
      if ("event" in line) {
        if (this.#client.counters.buffered === 0) {
          this.#patience.restart(true);
        }
        this.#lines.read(line.number, line.event);
        this.#client.push(line.event);
      } else {
        this.#lines.readBad(line.number);
        this.#deps.onFault(line.number, line.fault);
      }
    }
  }

  #flush(timeoutMs: number): Promise<void> {
    return this.#client.flush({ timeoutMs }).catch(() => undefined);
  }

  #answered(): void {
    this.#patience.restart(this.#lines.areWaiting);
  }

  #reject({ event, message, violations }: Rejection): void {
    const line = this.#lines.settle(event) ?? 0;
    this.#answered();
    const details = violations.map(({ field, description }) => `${field} ${description}`).join("; ");
    this.#deps.onFault(line, `is rejected: ${details || message}`);
  }

  #judge({ error }: Failure): void {
    if (REFUSING_CODES.has(error.code)) {
      this.stop({ kind: "refused", reason: error.message });
    } else {
      this.#patience.failed(error);
    }
  }
}
