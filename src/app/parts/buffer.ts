/** The buffer: JetStream where there is a BUFFER_URL, else the spool. */
import { hostname } from "node:os";
import type { BatchBuffer } from "../../buffer/buffer.js";
import { JetStreamBuffer } from "../../buffer/jetstream/jetstream-buffer.js";
import { parseNatsUrl } from "../../buffer/jetstream/nats-url.js";
import { Spool } from "../../buffer/spool/spool.js";
import { part, type Registrations } from "./part.js";
import type { ProcessParts } from "./process.js";

export interface BufferParts {
  /** undefined: there is no BUFFER_URL, and SPOOL_MAX_BYTES is 0. */
  readonly buffer: BatchBuffer | undefined;
  /** The buffer, if processes share it. */
  readonly sharedBuffer: JetStreamBuffer | undefined;
}

type Needs = BufferParts & ProcessParts;

export function bufferParts(): Registrations<BufferParts> {
  return {
    sharedBuffer: part(createJetStreamBuffer, (buffer) => buffer?.close()),
    buffer: part(createBuffer, (buffer) => buffer?.close()),
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
