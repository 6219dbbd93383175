/**
 * The books: counts what was accepted and where it ended, so that anyone can check that nothing was lost or
 * doubled; it never moves an event.
 */
import type { WriteOutcome } from "../sink/sink.js";

/**
 * The fields of the books, in events since the process started:
 * - `accepted`: answered OK, or waiting for a durable answer
 * - `recovered`: found in the buffer, left there by an earlier run
 * - `inserted`, `duplicates`, `dead`: ended in the sink
 * - `spooled`: in the buffer now
 * - `setAside`: in batches of the buffer that were set aside because they could not be read
 */
export const LEDGER_FIELDS = [
  "accepted",
  "recovered",
  "inserted",
  "duplicates",
  "dead",
  "spooled",
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
  spooled = 0;
  setAside = 0;

  /** Of `dead`, by the code of the refusal. */
  readonly deadByCode = new Map<string, number>();
  /** Put into the spool by this process, whatever became of them. */
  spooledInAll = 0;
  /** Taken out of the spool because they have ended. */
  replayed = 0;

  /** Books what an earlier run left: rows that are in the spool, and rows in files that were set aside. */
  recover(spooledRows: number, setAsideRows: number): void {
    this.recovered += spooledRows + setAsideRows;
    this.spooled += spooledRows;
    this.setAside += setAsideRows;
  }

  /** Books rows that the sink has taken. */
  wrote(outcome: WriteOutcome): void {
    this.inserted += outcome.inserted;
    this.duplicates += outcome.duplicates;
    this.dead += outcome.dead;
    for (const [code, rows] of Object.entries(outcome.deadByCode ?? {})) {
      this.deadByCode.set(code, (this.deadByCode.get(code) ?? 0) + rows);
    }
  }

  /** Books rows that went from memory to the spool. */
  spool(rows: number): void {
    this.spooled += rows;
    this.spooledInAll += rows;
  }

  /** Books rows of the spool that the sink has taken. */
  replay(rows: number, outcome: WriteOutcome): void {
    this.spooled -= rows;
    this.replayed += rows;
    this.wrote(outcome);
  }

  read(): LedgerEntry {
    return Object.fromEntries(LEDGER_FIELDS.map((field) => [field, this[field]])) as LedgerEntry;
  }

  /**
   * Events that came in and are nowhere: 0 when the books balance. Negative when more ended than came in.
   * `queuedRows` are the rows in memory, in flight included.
   */
  missing(queuedRows: number): number {
    const ended = this.inserted + this.duplicates + this.dead + this.spooled + this.setAside;
    return this.accepted + this.recovered - ended - queuedRows;
  }
}
