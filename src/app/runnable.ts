/** What a process runs, a Service or the Primary of several, as the process sees it. */
import { Ledger, type LedgerEntry } from "../ingest/ledger.js";
import { addUp } from "../util/add-up.js";

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

/** The books of a run that never began. */
export const NO_BOOKS: FinalBooks = { ...new Ledger().read(), queued: 0, missing: 0, isBalanced: true };

/** The books of several runs as one; balanced if each is. */
export function sumBooks(all: readonly FinalBooks[]): FinalBooks {
  return all.reduce(
    ({ isBalanced: a, ...sum }, { isBalanced: b, ...books }) => ({
      ...addUp(sum, books),
      isBalanced: a && b,
    }),
    NO_BOOKS,
  );
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
