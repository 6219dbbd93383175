/** Puts together how this process is, when somebody asks; it changes nothing and keeps no history. */

import { Ledger, type LedgerEntry } from "../ingest/ledger.js";
import type { TableState } from "../postgres/table-state.js";
import type { HealthProbes } from "../server/admin-server.js";
import type { Clock } from "../util/clock.js";
import { messageOf } from "../util/error-message.js";
import type {
  DatabaseStatus,
  FlushStatus,
  RoomStatus,
  ServiceStatus,
  SpoolStatus,
} from "./service-status.js";

interface SinkFaults {
  sinkFault(): { readonly faultClass: string; readonly message: string } | undefined;
}

/** The parts that have something to tell. */
export interface StatusParts {
  readonly ledger: { read(): LedgerEntry };
  readonly queue: RoomStatus;
  readonly spool: SpoolStatus | undefined;
  readonly flusher: SinkFaults & {
    /** Unix milliseconds. */
    lastFlushAt(): number | undefined;
  };
  readonly replay: SinkFaults | undefined;
  /** Rejects when the database does not say; at once when `signal` aborts. */
  readonly readTables: (signal: AbortSignal) => Promise<TableState>;
}

export interface StatusBoardDeps {
  readonly version: string;
  readonly health: HealthProbes;
  readonly clock: Clock;
}

/** One who looks in an outage must not wait for the database to time out. */
const DATABASE_TIMEOUT_MS = 2_000;

const NO_EVENTS = new Ledger().read();

/** Answers from the beginning; what the parts tell is in it once {@link StatusBoard.watch} was told of them. */
export class StatusBoard {
  readonly #deps: StatusBoardDeps;
  readonly #startedAt: number;
  #parts: StatusParts | undefined;
  /** Shared by all who ask at the same time, so that they take one connection between them. */
  #look: Promise<DatabaseStatus> | undefined;

  constructor(deps: StatusBoardDeps) {
    this.#deps = deps;
    this.#startedAt = deps.clock.elapsed();
  }

  /** The parts are there. */
  watch(parts: StatusParts): void {
    this.#parts = parts;
  }

  /** How things are now. Never rejects, and takes a few seconds at most. */
  async read(): Promise<ServiceStatus> {
    const { version, health, clock } = this.#deps;
    const parts = this.#parts;
    const database = parts === undefined ? null : await this.#lookAtDatabase(parts);
    return {
      version,
      processes: 1,
      uptimeMs: Math.round(clock.elapsed() - this.#startedAt),
      liveness: health.liveness(),
      readiness: health.readiness(),
      events: parts?.ledger.read() ?? NO_EVENTS,
      queue: roomOf(parts?.queue),
      spool: spoolOf(parts?.spool),
      flush: flushOf(parts),
      database,
    };
  }

  #lookAtDatabase(parts: StatusParts): Promise<DatabaseStatus> {
    this.#look ??= this.#readTables(parts).finally(() => {
      this.#look = undefined;
    });
    return this.#look;
  }

  async #readTables({ readTables }: StatusParts): Promise<DatabaseStatus> {
    const deadline = new AbortController();
    const cancel = this.#deps.clock.schedule(DATABASE_TIMEOUT_MS, () =>
      deadline.abort(new Error(`no answer within ${DATABASE_TIMEOUT_MS / 1000} s`)),
    );
    try {
      return { ok: true, ...(await readTables(deadline.signal)) };
    } catch (error) {
      return { ok: false, reason: messageOf(error) };
    } finally {
      cancel();
    }
  }
}

function roomOf(room: RoomStatus | undefined): RoomStatus {
  return { rows: room?.rows ?? 0, bytes: room?.bytes ?? 0, maxBytes: room?.maxBytes ?? 0 };
}

function spoolOf(spool: SpoolStatus | undefined): SpoolStatus | null {
  if (spool === undefined) {
    return null;
  }
  const { files, setAsideFiles, isWritable } = spool;
  return { ...roomOf(spool), files, setAsideFiles, isWritable };
}

function flushOf(parts: StatusParts | undefined): FlushStatus {
  const at = parts?.flusher.lastFlushAt();
  return {
    lastSuccessAt: at === undefined ? null : new Date(at).toISOString(),
    fault: parts === undefined ? null : faultOf(parts),
  };
}

/** Of what is new before that of the spool: mostly they are the same. */
function faultOf({ flusher, replay }: StatusParts): FlushStatus["fault"] {
  const fault = flusher.sinkFault();
  if (fault !== undefined) {
    return { faultClass: fault.faultClass, message: fault.message };
  }
  const ofSpool = replay?.sinkFault();
  return ofSpool === undefined
    ? null
    : { faultClass: ofSpool.faultClass, message: `the spool cannot be replayed: ${ofSpool.message}` };
}
