/**
 * The background job that keeps the counts: it folds new rows into them as long as it runs. It never writes a row of
 * `incoming`; any number of services may run it on one database.
 */
import type { Pool, PoolClient } from "pg";
import type { Logger } from "pino";
import { isIndexComplete, summarise } from "../postgres/incoming-index.js";
import { withConnection } from "../postgres/pool.js";
import {
  classifyFault,
  DUPLICATE_PREPARED_STATEMENT,
  QUERY_CANCELED,
  sqlstateOf,
  UNKNOWN_PREPARED_STATEMENT,
} from "../postgres/sqlstate.js";
import { backoffMs, SCHEMA_BACKOFF } from "../util/backoff.js";
import type { Clock } from "../util/clock.js";
import { messageOf } from "../util/error-message.js";
import { type NextStep, SupervisedLoop } from "../util/supervised-loop.js";
import { Waker } from "../util/waker.js";
import { adaptToCluster } from "./cluster.js";
import { type CountedDay, type FoldOutcome, fold } from "./fold.js";
import { DAY, HOUR, QUARTER_HOUR, type Tier } from "./tiers.js";
import { unsupportedDatabase } from "./unsupported.js";

/** Hears of the folds. */
export interface FoldObserver {
  /** `tiers` names those that were folded together. */
  folded(tiers: string, rows: number, durationMs: number): void;
  failed(tiers: string, durationMs: number): void;
}

export interface AggregatorDeps {
  /** For counts alone: a fold may take minutes, and must not take a flush's connection. */
  readonly pool: Pool;
  readonly clock: Clock;
  /** In [0, 1). */
  readonly random: () => number;
  readonly logger: Logger;
  /** Time between two folds, at least. */
  readonly intervalMs: number;
  /** Default: nobody watches. */
  readonly observer?: FoldObserver | undefined;
}

/** Tiers that are folded together, and how often. */
interface Pace {
  readonly tiers: readonly Tier[];
  /** Share of the time that folds may take; the wait between them is made so long. */
  readonly share: number;
  /** The wait between two folds is never longer than this, unless COUNTS_INTERVAL_MS is. */
  readonly maxMs: number;
}

/** The distinct keys are what a fold costs, so seldom is cheap: only the finest counts are to be fresh under load. */
const PACES: readonly Pace[] = [
  { tiers: [QUARTER_HOUR], share: 0.1, maxMs: 10_000 },
  { tiers: [HOUR, DAY], share: 0.02, maxMs: 60_000 },
];

/** After a long time without folds, one may have hundreds of millions of rows to read. */
const FIRST_TIMEOUT_MS = 60_000;
const MAX_TIMEOUT_MS = 6 * 60 * 60 * 1000;
const INDEX_LOOK_MS = 5_000;
const NEARLY = 0.9;
const RETRY_BACKOFF = { firstMs: 1_000, maxMs: 30_000, minMs: 500 };
/** A range of the index covers about as many rows; fewer are found fast without it. */
const SUMMARISE_ROWS = 9_000;

/** How a pooler makes itself known that gives each transaction another session. */
const POOLER_CODES = new Set([UNKNOWN_PREPARED_STATEMENT, DUPLICATE_PREPARED_STATEMENT]);

interface Group extends Pace {
  readonly name: string;
  /** By {@link Clock.elapsed}. */
  dueAt: number;
  /** Time between two folds, whoever does them. */
  pauseMs: number;
  timeoutMs: number;
}

/** `new` → `running` by start(); → `closed`, for good, by close(). */
export class Aggregator {
  readonly #deps: AggregatorDeps;
  readonly #waker: Waker;
  readonly #closing = new AbortController();
  #loop: Promise<void> | undefined;
  readonly #groups: readonly Group[];
  #isReady = false;
  #failures = 0;
  #fault: string | undefined;
  /** When the finest counts were complete, by {@link Clock.elapsed}; until that is known, when it was started. */
  #freshAt: number | undefined;
  /** Rows that were counted since the index was last told of rows of their day. */
  readonly #unsummarised = new Map<string, number>();
  #maySummarise = true;
  #keepsPlans = true;

  constructor(deps: AggregatorDeps) {
    this.#deps = deps;
    this.#waker = new Waker(deps.clock);
    this.#groups = PACES.map((pace) => ({
      ...pace,
      name: pace.tiers.map(({ name }) => name).join(" and "),
      dueAt: 0,
      pauseMs: deps.intervalMs,
      timeoutMs: FIRST_TIMEOUT_MS,
    }));
  }

  /** Why nothing is counted; undefined when it is. */
  fault(): string | undefined {
    return this.#fault;
  }

  /** How long ago the finest counts were complete, in milliseconds; until that is known, the time since the start. */
  lagMs(): number {
    return this.#freshAt === undefined ? 0 : this.#deps.clock.elapsed() - this.#freshAt;
  }

  /** Starts to fold in the background. */
  start(): void {
    if (!this.#closing.signal.aborted) {
      const { logger, clock } = this.#deps;
      this.#freshAt ??= clock.elapsed();
      const step = () => this.#step();
      this.#loop ??= new SupervisedLoop({
        name: "the loop of the counts",
        step,
        waker: this.#waker,
        logger,
      }).run();
    }
  }

  /** Ends at once; a fold in progress is undone. Safe before start() and twice. */
  async close(): Promise<void> {
    this.#closing.abort(new Error("the service is stopping"));
    this.#waker.wake();
    await this.#loop;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  async #step(): Promise<NextStep> {
    const { signal } = this.#closing;
    if (signal.aborted) {
      return "end";
    }
    try {
      const next = await withConnection(this.#deps.pool, signal, (client) => this.#foldDue(client));
      this.#failures = 0;
      return next;
    } catch (error) {
      return signal.aborted ? "end" : { waitMs: this.#fail(error) };
    }
  }

  async #foldDue(client: PoolClient): Promise<NextStep> {
    const { clock } = this.#deps;
    if (!this.#isReady) {
      const next = await this.#prepare(client);
      if (next !== undefined) {
        return next;
      }
      this.#isReady = true;
    }
    for (const group of this.#groups) {
      if (group.dueAt <= clock.elapsed()) {
        await this.#fold(client, group);
      }
    }
    this.#fault = undefined;
    return { waitMs: Math.max(0, Math.min(...this.#groups.map(({ dueAt }) => dueAt)) - clock.elapsed()) };
  }

  /** Undefined: folds may begin. */
  async #prepare(client: PoolClient): Promise<NextStep | undefined> {
    const unsupported = await unsupportedDatabase(client);
    if (unsupported !== undefined) {
      this.#fault = `counts do not work on ${unsupported}, where each node numbers its transactions by itself`;
      this.#deps.logger.error({ database: unsupported }, `${this.#fault}; set COUNTS=off`);
      return "end";
    }
    await client.query("UPDATE counts_cluster SET in_use = true WHERE NOT in_use");
    if (!(await isIndexComplete(client))) {
      this.#fault = "waiting for the index of old partitions";
      return { waitMs: INDEX_LOOK_MS };
    }
    return undefined;
  }

  async #fold(client: PoolClient, group: Group): Promise<void> {
    const { clock, observer } = this.#deps;
    const startedAt = clock.elapsed();
    let outcome: FoldOutcome;
    try {
      // A little less, or of two services each would find the other's fold just too recent and come back late.
      outcome = await fold(client, group.tiers, {
        minAgeMs: group.pauseMs * NEARLY,
        timeoutMs: group.timeoutMs,
        keepsPlan: this.#keepsPlans,
      });
    } catch (error) {
      if (this.#keepsPlans && POOLER_CODES.has(sqlstateOf(error) ?? "")) {
        this.#keepsPlans = false;
        return;
      }
      observer?.failed(group.name, clock.elapsed() - startedAt);
      if (sqlstateOf(error) === QUERY_CANCELED) {
        group.timeoutMs = Math.min(2 * group.timeoutMs, MAX_TIMEOUT_MS);
      }
      throw error;
    }
    await this.#note(client, group, outcome, startedAt);
  }

  async #note(client: PoolClient, group: Group, outcome: FoldOutcome, startedAt: number): Promise<void> {
    const { clock, intervalMs, observer, logger } = this.#deps;
    const durationMs = clock.elapsed() - startedAt;
    const isFinest = group.tiers.includes(QUARTER_HOUR);
    let waitMs = intervalMs;
    switch (outcome.kind) {
      case "busy":
        break;
      case "strange":
        await this.#adapt(client);
        waitMs = 0;
        break;
      case "recent":
        waitMs = Math.max(group.pauseMs - outcome.ageMs, 0);
        if (isFinest) {
          this.#freshAt = startedAt - outcome.ageMs;
        }
        break;
      case "folded": {
        const rows = outcome.days.reduce((sum, day) => sum + day.rows, 0);
        observer?.folded(group.name, rows, durationMs);
        logger.debug({ tiers: group.name, rows, durationMs: Math.round(durationMs) }, "counts: folded");
        waitMs = this.#pauseMs(group, durationMs);
        group.pauseMs = waitMs;
        group.timeoutMs = FIRST_TIMEOUT_MS;
        if (isFinest) {
          this.#freshAt = startedAt;
          await this.#summarise(client, outcome.days);
        }
      }
    }
    group.dueAt = clock.elapsed() + waitMs;
  }

  /** The longer a fold takes, the longer the pause after it. */
  #pauseMs({ share, maxMs }: Pace, durationMs: number): number {
    const { intervalMs } = this.#deps;
    return Math.max(intervalMs, Math.min((durationMs * (1 - share)) / share, maxMs));
  }

  async #summarise(client: PoolClient, days: readonly CountedDay[]): Promise<void> {
    for (const { day, rows } of days) {
      const unsummarised = (this.#unsummarised.get(day) ?? 0) + rows;
      this.#unsummarised.set(day, unsummarised);
      if (unsummarised >= SUMMARISE_ROWS && this.#maySummarise) {
        this.#unsummarised.delete(day);
        const dayMs = Date.parse(day);
        this.#maySummarise = await summarise(client, Number.isNaN(dayMs) ? undefined : dayMs);
      }
    }
  }

  async #adapt(client: PoolClient): Promise<void> {
    if (await adaptToCluster(client)) {
      this.#deps.logger.warn(
        "the database is a copy restored into another cluster; the counts are adapted to it",
      );
    }
  }

  /** Returns the time until the next try, in milliseconds. */
  #fail(error: unknown): number {
    const { random, logger } = this.#deps;
    const faultClass = classifyFault(error);
    const reason = messageOf(error);
    this.#failures += 1;
    this.#fault = reason;
    const backoff = faultClass === "schema" ? SCHEMA_BACKOFF : RETRY_BACKOFF;
    const retryInMs = backoffMs(this.#failures, backoff, random);
    // A database that is out of reach makes itself heard by the flushes.
    const level = faultClass !== "transient" ? "error" : this.#failures === 1 ? "warn" : "debug";
    logger[level](
      { faultClass, reason, failures: this.#failures, retryInMs },
      "counts: events could not be counted; trying again",
    );
    return retryInMs;
  }
}
