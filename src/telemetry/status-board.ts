/** Puts together how this process is, when somebody asks; it changes nothing and keeps no history. */

import { Ledger, type LedgerEntry } from "../ingest/ledger.js";
import { RefusedCalls, Rejections } from "../rpc/rejections.js";
import type { HealthProbes } from "../server/admin-server.js";
import type { Clock } from "../util/clock.js";
import { messageOf } from "../util/error-message.js";
import type {
  BufferStatus,
  CountsPageStatus,
  DatabaseReading,
  DatabaseStatus,
  FlushStatus,
  RefusedStatus,
  RoomStatus,
  ServiceStatus,
} from "./service-status.js";

interface SinkFaults {
  sinkFault(): { readonly faultClass: string; readonly message: string } | undefined;
  /** When it began, in Unix milliseconds. */
  failingSince(): number | undefined;
}

/** The parts that have something to tell. */
export interface StatusParts {
  readonly ledger: { read(): LedgerEntry };
  readonly queue: RoomStatus;
  readonly buffer: BufferStatus | undefined;
  readonly flusher: SinkFaults & {
    /** Unix milliseconds. */
    lastFlushAt(): number | undefined;
  };
  readonly replay: SinkFaults | undefined;
  readonly rejections: { read(): RefusedStatus["events"] };
  readonly refusedCalls: { read(): RefusedStatus["calls"] };
  /** Rejects when the database does not say; at once when `signal` aborts. undefined: there is none. */
  readonly readTables: ((signal: AbortSignal) => Promise<DatabaseReading>) | undefined;
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
  #countsPage: CountsPageStatus | null = null;
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

  /** The counts page can be opened. */
  showCountsPage(page: CountsPageStatus): void {
    this.#countsPage = page;
  }

  /** How things are now. Never rejects, and takes a few seconds at most. */
  async read(): Promise<ServiceStatus> {
    const { version, health, clock } = this.#deps;
    const parts = this.#parts;
    const database = await this.#lookAtDatabase(parts?.readTables);
    return {
      version,
      processes: 1,
      uptimeMs: Math.round(clock.elapsed() - this.#startedAt),
      liveness: health.liveness(),
      readiness: health.readiness(),
      events: parts?.ledger.read() ?? NO_EVENTS,
      queue: roomOf(parts?.queue),
      buffer: bufferOf(parts?.buffer),
      flush: this.#flushOf(parts),
      refused: {
        events: (parts?.rejections ?? new Rejections()).read(),
        calls: (parts?.refusedCalls ?? new RefusedCalls()).read(),
      },
      countsPage: this.#countsPage,
      database,
    };
  }

  #flushOf(parts: StatusParts | undefined): FlushStatus {
    const at = parts?.flusher.lastFlushAt();
    return {
      lastSuccessAt: at === undefined ? null : new Date(at).toISOString(),
      fault: parts === undefined ? null : faultOf(parts, this.#deps.clock.now()),
    };
  }

  async #lookAtDatabase(readTables: StatusParts["readTables"]): Promise<DatabaseStatus | null> {
    if (readTables === undefined) {
      return null;
    }
    this.#look ??= this.#readTables(readTables).finally(() => {
      this.#look = undefined;
    });
    return this.#look;
  }

  async #readTables(readTables: NonNullable<StatusParts["readTables"]>): Promise<DatabaseStatus> {
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

function bufferOf(buffer: BufferStatus | undefined): BufferStatus | null {
  if (buffer === undefined) {
    return null;
  }
  const { kind, batches, setAsideBatches, isWritable } = buffer;
  return { kind, ...roomOf(buffer), batches, setAsideBatches, isWritable };
}

/** Of what is new before that of the buffer: mostly they are the same. */
function faultOf({ flusher, replay }: StatusParts, now: number): FlushStatus["fault"] {
  const fault = flusher.sinkFault() ?? replay?.sinkFault();
  if (fault === undefined) {
    return null;
  }
  const isOfBuffer = flusher.sinkFault() === undefined;
  const since = (isOfBuffer ? replay?.failingSince() : flusher.failingSince()) ?? now;
  return {
    faultClass: fault.faultClass,
    message: isOfBuffer ? `the buffer cannot be replayed: ${fault.message}` : fault.message,
    since: new Date(since).toISOString(),
  };
}
