/** How a service is at a glance, as a value that goes over the wire; it reads nothing by itself. */
import type { BufferKind } from "../buffer/buffer.js";
import type { CountsProgress } from "../counts/count-state.js";
import type { LedgerEntry } from "../ingest/ledger.js";
import type { RefusalReason } from "../ingest/refusal.js";
import type { TableState } from "../postgres/table-state.js";
import type { UnhandledReason } from "../rpc/stock-lane.js";
import type { Probe } from "../server/health.js";
import { addUp } from "../util/add-up.js";

/** Room for events and what is in it. */
export interface RoomStatus {
  readonly rows: number;
  readonly bytes: number;
  readonly maxBytes: number;
}

/** Where batches wait for PostgreSQL. What is told of a buffer that processes share is true of all of them together. */
export interface BufferStatus extends RoomStatus {
  readonly kind: BufferKind;
  readonly batches: number;
  readonly setAsideBatches: number;
  readonly isWritable: boolean;
}

export interface FlushStatus {
  /** ISO 8601; null: nothing has been written since the start. */
  readonly lastSuccessAt: string | null;
  /** While batches fail, of the queue or of the buffer: what the last one failed with. */
  readonly fault: {
    readonly faultClass: string;
    readonly message: string;
    /** When they began to fail, in ISO 8601. */
    readonly since: string;
  } | null;
}

/** What was refused since the start, by reason. */
export interface RefusedStatus {
  /** Events, by the rules for them or for lack of room. */
  readonly events: Readonly<Record<RefusalReason, number>>;
  /** Calls that reached no method. */
  readonly calls: Readonly<Record<UnhandledReason, number>>;
}

/** Where the page with the counts is, on the host of the service. */
export interface CountsPageStatus {
  readonly port: number;
  readonly isTls: boolean;
}

/** What the database is asked for. */
export interface DatabaseReading extends TableState {
  /** Absent in the status of a version that did not count. */
  readonly counts?: CountsProgress;
}

export type DatabaseStatus = ({ readonly ok: true } & DatabaseReading) | Extract<Probe, { ok: false }>;

/** Only plain values, so that JSON gives it back as it was. Sizes in bytes, times in milliseconds. */
export interface ServiceStatus {
  readonly version: string;
  /** How many processes this is about. */
  readonly processes: number;
  readonly uptimeMs: number;
  readonly liveness: Probe;
  readonly readiness: Probe;
  readonly events: LedgerEntry;
  readonly queue: RoomStatus;
  /** null: there is none. */
  readonly buffer: BufferStatus | null;
  readonly flush: FlushStatus;
  readonly refused: RefusedStatus;
  /** null: COUNTS_PAGE is off, or the port is not open yet. */
  readonly countsPage: CountsPageStatus | null;
  /** null: it has not been asked yet, or there is none. */
  readonly database: DatabaseStatus | null;
}

/**
 * Several processes as one: counts are added up, and what is wrong with one is wrong with all. They write to one
 * database, so any of them can tell about it; one that reaches it is believed. Needs at least one.
 */
export function mergeStatuses(statuses: readonly ServiceStatus[]): ServiceStatus {
  return statuses.reduce(mergeTwo);
}

function mergeTwo(a: ServiceStatus, b: ServiceStatus): ServiceStatus {
  return {
    version: a.version === b.version ? a.version : `${a.version}, ${b.version}`,
    processes: a.processes + b.processes,
    uptimeMs: Math.min(a.uptimeMs, b.uptimeMs),
    liveness: mergeProbes(a.liveness, b.liveness),
    readiness: mergeProbes(a.readiness, b.readiness),
    events: addUp(a.events, b.events),
    queue: addUp(a.queue, b.queue),
    buffer: mergeBuffers(a.buffer, b.buffer),
    flush: {
      lastSuccessAt: laterOf(a.flush.lastSuccessAt, b.flush.lastSuccessAt),
      fault: earlierFault(a.flush.fault, b.flush.fault),
    },
    refused: {
      events: addUp(a.refused.events, b.refused.events),
      calls: addUp(a.refused.calls, b.refused.calls),
    },
    countsPage: a.countsPage ?? b.countsPage,
    database: a.database?.ok === true ? a.database : (b.database ?? a.database),
  };
}

/** Of two times in ISO 8601 and UTC, which sort as text. */
function laterOf(a: string | null, b: string | null): string | null {
  if (a === null || b === null) {
    return a ?? b;
  }
  return a > b ? a : b;
}

function earlierFault(a: FlushStatus["fault"], b: FlushStatus["fault"]): FlushStatus["fault"] {
  return a === null || b === null ? (a ?? b) : a.since <= b.since ? a : b;
}

function mergeProbes(a: Probe, b: Probe): Probe {
  if (a.ok) {
    return b;
  }
  return b.ok || a.reason === b.reason ? a : { ok: false, reason: `${a.reason}; ${b.reason}` };
}

function mergeBuffers(a: BufferStatus | null, b: BufferStatus | null): BufferStatus | null {
  if (a === null || b === null) {
    return a ?? b;
  }
  const { kind, isWritable: aIsWritable, ...aCounts } = a;
  const { kind: _, isWritable: bIsWritable, ...bCounts } = b;
  // Both tell of the same stream; or each of a folder that it has for itself.
  const counts = kind === "jetstream" ? bCounts : addUp(aCounts, bCounts);
  return { kind, ...counts, isWritable: aIsWritable && bIsWritable };
}
