/** The buffer: JetStream where there is a BUFFER_URL, else the spool. */
import { randomUUID } from "node:crypto";
import { hostname } from "node:os";
import type { BatchBuffer } from "../../buffer/buffer.js";
import { JetStreamBuffer } from "../../buffer/jetstream/jetstream-buffer.js";
import { parseNatsUrl } from "../../buffer/jetstream/nats-url.js";
import { ProcessRecords } from "../../buffer/jetstream/process-records.js";
import { Spool } from "../../buffer/spool/spool.js";
import { version } from "../../util/package-info.js";
import type { IngestParts } from "./ingest.js";
import { part, type Registrations } from "./part.js";
import type { ProcessParts } from "./process.js";

export interface BufferParts {
  /** undefined: there is no BUFFER_URL, and SPOOL_MAX_BYTES is 0. */
  readonly buffer: BatchBuffer | undefined;
  /** The buffer, if processes share it. */
  readonly sharedBuffer: JetStreamBuffer | undefined;
  /** undefined: processes share no buffer. */
  readonly processRecords: ProcessRecords | undefined;
}

type Needs = BufferParts & ProcessParts & Pick<IngestParts, "ledger" | "queue">;

export function bufferParts(): Registrations<BufferParts> {
  return {
    sharedBuffer: part(createJetStreamBuffer, (buffer) => buffer?.close()),
    buffer: part(createBuffer, (buffer) => buffer?.close()),
    processRecords: part(createProcessRecords, (records) => records?.close()),
  };
}

function createBuffer({ config, sharedBuffer, clock, logger }: Needs): BatchBuffer | undefined {
  if (sharedBuffer !== undefined) {
    return sharedBuffer;
  }
  return config.spoolMaxBytes > 0
    ? new Spool({ directory: config.spoolDir, maxBytes: config.spoolMaxBytes, clock, logger })
    : undefined;
}

function createJetStreamBuffer({ config, clock, random, logger }: Needs): JetStreamBuffer | undefined {
  const { bufferUrl, bufferCredentialsFile, bufferStream, bufferReplicas, bufferMaxBytes, role } = config;
  return bufferUrl === undefined
    ? undefined
    : new JetStreamBuffer({
        servers: parseNatsUrl(bufferUrl),
        credentialsFile: bufferCredentialsFile,
        stream: bufferStream,
        replicas: bufferReplicas,
        maxBytes: bufferMaxBytes,
        clientName: `stats-service ${role} ${hostname()} ${process.pid}`,
        clock,
        random,
        logger,
      });
}

function createProcessRecords(needs: Needs): ProcessRecords | undefined {
  const { config, sharedBuffer, ledger, queue, clock, logger } = needs;
  const own = { id: randomUUID(), role: config.role, host: hostname(), pid: process.pid, version };
  return sharedBuffer === undefined
    ? undefined
    : new ProcessRecords({
        stream: config.bufferStream,
        connection: () => sharedBuffer.connection,
        read: () => ({ ...own, events: ledger.read(), queued: queue.rows }),
        clock,
        logger,
      });
}
