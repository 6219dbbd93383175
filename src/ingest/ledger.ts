/**
 * The books: counts what was accepted and where it ended, so that anyone can check that nothing was lost or
 * doubled; it never moves an event.
 */
import type { WriteOutcome } from "../sink/sink.js";

/**
 * The fields of the books, in events since the process started:
 * - `accepted`: answered OK, or waiting for a durable answer
 * - `recovered`: found in the buffer, left there by an earlier run; or taken from a buffer that processes share
 * - `inserted`, `duplicates`, `dead`: ended in PostgreSQL
 * - `buffered`: in the buffer now
 * - `forwarded`: stored in a buffer that processes share, from which any of them may write them
 * - `setAside`: in batches of the buffer that were set aside because they could not be read
 */
export const LEDGER_FIELDS = [
  "accepted",
  "recovered",
  "inserted",
  "duplicates",
  "dead",
  "buffered",
  "forwarded",
  "setAside",
] as const;

/** A reading of the books. */
export type LedgerEntry = Readonly<Record<(typeof LEDGER_FIELDS)[number], number>>;

/** Counts of events. `accepted + recovered` is always the sum of all the others and of the queue's rows. */
export class Ledger implements LedgerEntry {
  accepted = 0;
  recovered = 0;
  inserted = 0;
  duplicates = 0;
  dead = 0;
  buffered = 0;
  forwarded = 0;
  setAside = 0;

  /** Of `dead`, by the code of the refusal. */
  readonly deadByCode = new Map<string, number>();
  /** Put into the buffer by this process, whatever became of them. */
  bufferedInAll = 0;
  /** Taken out of the buffer because they have ended. */
  replayed = 0;

  readonly #sharesBuffer: boolean;

  /** `sharesBuffer`: other processes put batches into the buffer and take them out, so what is in it is in no one's books. */
  constructor({ sharesBuffer = false }: { readonly sharesBuffer?: boolean } = {}) {
    this.#sharesBuffer = sharesBuffer;
  }

  /** Books what an earlier run left: rows that are in the buffer, and rows in batches that were set aside. */
  recover(bufferedRows: number, setAsideRows: number): void {
    this.recovered += bufferedRows + setAsideRows;
    this.buffered += bufferedRows;
    this.setAside += setAsideRows;
  }

  /** Books rows that the sink has taken. */
  wrote(outcome: WriteOutcome): void {
    this.inserted += outcome.inserted;
    this.duplicates += outcome.duplicates;
    this.dead += outcome.dead;
    this.forwarded += outcome.forwarded ?? 0;
    for (const [code, rows] of Object.entries(outcome.deadByCode ?? {})) {
      this.deadByCode.set(code, (this.deadByCode.get(code) ?? 0) + rows);
    }
  }

  /** Books rows that went from memory to the buffer. */
  buffer(rows: number): void {
    this[this.#sharesBuffer ? "forwarded" : "buffered"] += rows;
    this.bufferedInAll += rows;
  }

  /** Books rows of the buffer that the sink has taken. */
  replay(rows: number, outcome: WriteOutcome): void {
    this.#takeOut(rows);
    this.replayed += rows;
    this.wrote(outcome);
  }

  /** Books rows of a batch of the buffer that cannot be read. */
  putAside(rows: number): void {
    this.#takeOut(rows);
    this.setAside += rows;
  }

  read(): LedgerEntry {
    return Object.fromEntries(LEDGER_FIELDS.map((field) => [field, this[field]])) as LedgerEntry;
  }

  /**
   * Events that came in and are nowhere: 0 when the books balance. Negative when more ended than came in.
   * `queuedRows` are the rows in memory, in flight included.
   */
  missing(queuedRows: number): number {
    const { accepted, recovered, inserted, duplicates, dead, buffered, forwarded, setAside } = this;
    const ended = inserted + duplicates + dead + buffered + forwarded + setAside;
    return accepted + recovered - ended - queuedRows;
  }

  /** What is taken out of a shared buffer comes into the books at that moment. */
  #takeOut(rows: number): void {
    if (this.#sharesBuffer) {
      this.recovered += rows;
    } else {
      this.buffered -= rows;
    }
  }
}
