/**
 * Writes batches to PostgreSQL so that each row ends once: by COPY, by INSERT … ON CONFLICT when a row is there
 * already, as a dead letter when PostgreSQL refuses it; it never waits to retry.
 */
import type { Pool, PoolClient } from "pg";
import type { Logger } from "pino";
import { type EncodedBatch, tupleOffsets } from "../event/tuple-codec.js";
import { awaitStandby, withoutDoubt } from "../postgres/commit-doubt.js";
import { copyTuples, insertNewRows } from "../postgres/incoming-table.js";
import { inTransaction, orAborted, withConnection } from "../postgres/pool.js";
import { classifyFault, QUERY_CANCELED, sqlstateOf } from "../postgres/sqlstate.js";
import { messageOf } from "../util/error-message.js";
import type { FaultClass } from "../util/fault-class.js";
import { type DeadLetter, insertDeadLetters } from "./dead-letters.js";
import { refusalOfKnownRow } from "./known-row.js";
import { type Sink, SinkError, type WriteOptions, type WriteOutcome } from "./sink.js";

export interface PostgresSinkDeps {
  readonly pool: Pool;
  /**
   * Resolves when the schema is as this version needs it; called before each write, so cheap by then. What it waits for
   * is given up when the signal aborts.
   */
  readonly prepare: (signal: AbortSignal) => Promise<void>;
  readonly logger: Logger;
}

/** An unknown fault passes for a transient one this often, and is held against the row after. */
const UNKNOWN_ATTEMPTS_MAX = 5;
/** A statement with no more rows than this that takes too long waits for something: fewer would wait, too. */
const SLOW_ROWS_MAX = 100;

/** A {@link Sink} that ends in the table `incoming`. */
export class PostgresSink implements Sink {
  readonly #pool: Pool;
  readonly #prepare: (signal: AbortSignal) => Promise<void>;
  readonly #logger: Logger;
  #hasWarned = false;

  constructor(deps: PostgresSinkDeps) {
    this.#pool = deps.pool;
    this.#prepare = deps.prepare;
    this.#logger = deps.logger;
  }

  async write(batch: EncodedBatch, options: WriteOptions): Promise<WriteOutcome> {
    const { signal } = options;
    try {
      await orAborted(signal, () => this.#prepare(signal));
      return await withConnection(this.#pool, signal, (client) =>
        withoutDoubt(client, () => this.#write(client, batch, options)),
      );
    } catch (error) {
      throw error instanceof SinkError
        ? error
        : new SinkError(classifyFault(error), sqlstateOf(error), error);
    }
  }

  async #write(client: PoolClient, batch: EncodedBatch, options: WriteOptions): Promise<WriteOutcome> {
    const result = await tryCopy(client, batch.chunks);
    if ("fault" in result) {
      this.#warnIfSlow(batch.rows, result.fault);
      const outcome = await new Salvage(client, batch, options).run(result.fault);
      if (outcome.duplicates + outcome.dead > 0) {
        await awaitStandby(client);
      }
      return outcome;
    }
    this.#warnOfDropped(batch.rows, result.kept);
    return { inserted: batch.rows, duplicates: 0, dead: 0 };
  }

  /** At once, for the halves take their time, too, before the try ends. */
  #warnIfSlow(rows: number, fault: unknown): void {
    if (isTooSlow(rows, fault)) {
      this.#logger.warn(
        { rows, reason: messageOf(fault) },
        "PostgreSQL took too long for a batch; it is written in halves",
      );
    }
  }

  /** Once, for it may be on purpose. */
  #warnOfDropped(rows: number, kept: number): void {
    if (kept < rows && !this.#hasWarned) {
      this.#hasWarned = true;
      this.#logger.warn(
        { rows, dropped: rows - kept },
        "a trigger keeps rows out of incoming; they count as inserted",
      );
    }
  }
}

function isTooSlow(rows: number, fault: unknown): boolean {
  return rows > SLOW_ROWS_MAX && sqlstateOf(fault) === QUERY_CANCELED;
}

/** All rows are in, but for those that a trigger dropped; or none are, for this fault. */
type CopyResult = { readonly kept: number } | { readonly fault: unknown };

async function tryCopy(client: PoolClient, chunks: readonly Uint8Array[]): Promise<CopyResult> {
  try {
    return { kept: await copyTuples(client, chunks) };
  } catch (fault) {
    return { fault };
  }
}

/**
 * A batch that a plain COPY could not write: duplicates are skipped, and halving finds the rows that PostgreSQL
 * refuses, in O(log n) statements for each. What takes longer than a statement may is halved, too, so that a slow
 * database makes progress. A fault that no row is to blame for ends it; what was written by
 * then is skipped as duplicate when the batch is tried again.
 */
class Salvage {
  readonly #client: PoolClient;
  readonly #options: WriteOptions;
  readonly #tuples: Buffer;
  readonly #offsets: readonly number[];
  readonly #letters: DeadLetter[] = [];
  #hasDuplicates = false;
  #unknownFaults = 0;
  /** Rows that one statement may have: fewer once one has taken too long. */
  #rowsMax = Number.POSITIVE_INFINITY;
  #inserted = 0;
  #duplicates = 0;

  constructor(client: PoolClient, batch: EncodedBatch, options: WriteOptions) {
    this.#client = client;
    this.#options = options;
    this.#tuples = Buffer.concat(batch.chunks);
    this.#offsets = tupleOffsets(this.#tuples);
  }

  /** `fault` is what the COPY of the whole batch ended with. */
  async run(fault: unknown): Promise<WriteOutcome> {
    await this.#resolve(0, this.#offsets.length - 1, fault);
    await this.#refuseToBlameMost();
    if (this.#letters.length > 0) {
      await insertDeadLetters(this.#client, this.#letters, this.#options.attempt);
    }
    return {
      inserted: this.#inserted,
      duplicates: this.#duplicates,
      dead: this.#letters.length,
      ...(this.#letters.length > 0 && { deadByCode: countBySqlstate(this.#letters) }),
    };
  }

  /** Writes the rows from `first` up to, not including, `end`. */
  async #write(first: number, end: number): Promise<void> {
    this.#options.signal.throwIfAborted();
    if (end - first > this.#rowsMax) {
      return this.#writeHalves(first, end);
    }
    const tuples = this.#slice(first, end);
    if (!this.#hasDuplicates) {
      const result = await tryCopy(this.#client, [tuples]);
      if ("fault" in result) {
        return this.#resolve(first, end, result.fault);
      }
      this.#inserted += end - first;
      return;
    }
    let inserted: number;
    try {
      inserted = await inTransaction(this.#client, () => insertNewRows(this.#client, tuples));
    } catch (fault) {
      return this.#blame(first, end, fault);
    }
    this.#inserted += inserted;
    this.#duplicates += end - first - inserted;
  }

  /** Goes on after a COPY of these rows failed with `fault`. */
  async #resolve(first: number, end: number, fault: unknown): Promise<void> {
    if (classifyFault(fault) === "duplicate") {
      this.#hasDuplicates = true;
      return this.#write(first, end);
    }
    return this.#blame(first, end, fault);
  }

  /** Halves the rows until the one at fault stands alone, or they are few enough; throws when no row is at fault. */
  async #blame(first: number, end: number, fault: unknown): Promise<void> {
    const rows = end - first;
    if (isTooSlow(rows, fault)) {
      this.#rowsMax = Math.ceil(rows / 2);
      return this.#writeHalves(first, end);
    }
    const faultClass = this.#classify(fault);
    if (faultClass !== "row") {
      throw new SinkError(faultClass, sqlstateOf(fault), fault);
    }
    if (rows === 1) {
      this.#bury(first, fault);
      return;
    }
    await this.#writeHalves(first, end);
  }

  async #writeHalves(first: number, end: number): Promise<void> {
    const middle = first + Math.floor((end - first) / 2);
    await this.#write(first, middle);
    await this.#write(middle, end);
  }

  #classify(fault: unknown): FaultClass {
    const faultClass = classifyFault(fault);
    // ON CONFLICT (id) has let a violation through: it is of some other unique index, which is the row's fault.
    if (faultClass === "duplicate") {
      return "row";
    }
    if (faultClass === "unknown" && sqlstateOf(fault) !== undefined) {
      return this.#options.attempt > UNKNOWN_ATTEMPTS_MAX ? "row" : "unknown";
    }
    return faultClass;
  }

  #bury(index: number, fault: unknown): void {
    const payload = this.#slice(index, index + 1);
    this.#unknownFaults += classifyFault(fault) === "unknown" ? 1 : 0;
    this.#letters.push({ payload, sqlstate: sqlstateOf(fault) ?? "", message: messageOf(fault) });
  }

  /** A fault in most rows of several is not the rows' if it is of unknown kind, or if known rows have it, too. */
  async #refuseToBlameMost(): Promise<void> {
    const rows = this.#offsets.length - 1;
    const areMost = (count: number) => rows > 1 && count > rows / 2;
    let fault: DeadLetter | undefined;
    if (areMost(this.#unknownFaults)) {
      fault = this.#letters[0];
    } else if (areMost(this.#letters.length)) {
      const sqlstate = await refusalOfKnownRow(this.#client);
      fault = this.#letters.find((letter) => letter.sqlstate === sqlstate);
    }
    if (fault !== undefined) {
      throw new SinkError("schema", fault.sqlstate, new Error(`most rows of a batch fail: ${fault.message}`));
    }
  }

  #slice(first: number, end: number): Buffer {
    return this.#tuples.subarray(this.#offsets[first], this.#offsets[end]);
  }
}

function countBySqlstate(letters: readonly DeadLetter[]): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const { sqlstate } of letters) {
    const key = sqlstate || "none";
    counts[key] = (counts[key] ?? 0) + 1;
  }
  return counts;
}
