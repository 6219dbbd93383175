/** What a process runs, as the one that runs it sees it; it runs nothing. */
import type { LedgerEntry } from "../ingest/ledger.js";

/** Where the service can be reached. */
export interface ServiceAddress {
  readonly host: string;
  readonly port: number;
  /** undefined: in a worker, whose primary has it. */
  readonly adminPort: number | undefined;
}

/** The books of a run. */
export interface FinalBooks extends LedgerEntry {
  /** Left in memory. */
  readonly queued: number;
  /** Events that came in and are nowhere. */
  readonly missing: number;
  /** Each event that was accepted has ended somewhere safe. */
  readonly isBalanced: boolean;
}

/** stop() was called before start() was through. */
export class StartCancelledError extends Error {
  override readonly name = "StartCancelledError";

  constructor() {
    super("the service was told to stop before it had started");
  }
}

/** A Service, or the Primary of several. */
export interface Runnable {
  start(): Promise<ServiceAddress>;
  /** Never rejects. */
  stop(): Promise<FinalBooks>;
}
