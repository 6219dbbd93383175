/**
 * The books: counts what was accepted and where it ended, so that anyone can check that nothing was lost or
 * doubled; it never moves an event.
 */
import type { WriteOutcome } from "../sink/sink.js";

/** A reading of the books, in events since the process started. */
export interface LedgerEntry {
  /** Answered OK, or waiting for a durable answer. */
  readonly accepted: number;
  /** Found in the spool, left there by an earlier run. */
  readonly recovered: number;
  readonly inserted: number;
  readonly duplicates: number;
  readonly dead: number;
  /** In the spool now. */
  readonly spooled: number;
  /** In spool files that were set aside because they could not be read. */
  readonly setAside: number;
}

/** Counts of events. `accepted + recovered` is always the sum of all the others and of the queue's rows. */
export class Ledger {
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
    const { accepted, recovered, inserted, duplicates, dead, spooled, setAside } = this;
    return { accepted, recovered, inserted, duplicates, dead, spooled, setAside };
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
