/** Statuses for tests, of a service that does well unless told otherwise. */
import { RefusedCalls, Rejections } from "../../src/rpc/rejections.js";
import type { ServiceStatus } from "../../src/telemetry/service-status.js";

const GOOD = { ok: true } as const;

/** A service that has accepted five events, of which four are rows and one is queued. */
export function aStatus(fields: Partial<ServiceStatus> = {}): ServiceStatus {
  return {
    version: "1.2.3",
    processes: 1,
    uptimeMs: 1_000,
    liveness: GOOD,
    readiness: GOOD,
    events: {
      accepted: 5,
      inserted: 4,
      recovered: 0,
      duplicates: 0,
      dead: 0,
      buffered: 0,
      forwarded: 0,
      setAside: 0,
    },
    queue: { rows: 1, bytes: 80, maxBytes: 100 },
    buffer: {
      kind: "spool",
      rows: 0,
      bytes: 0,
      maxBytes: 1_000,
      batches: 0,
      setAsideBatches: 0,
      isWritable: true,
    },
    refused: { events: new Rejections().read(), calls: new RefusedCalls().read() },
    countsPage: null,
    flush: { lastSuccessAt: null, fault: null },
    database: null,
    ...fields,
  };
}
