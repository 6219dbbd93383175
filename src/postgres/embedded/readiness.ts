/** Owns the wait until a server that was just started takes connections; it never starts or stops one. */
import { open } from "node:fs/promises";
import { setTimeout as delay } from "node:timers/promises";
import { Client } from "pg";
import { codeOf } from "../../util/error-message.js";
import { EmbeddedPostgresError, reasonOf } from "./error.js";

const POLL_MS = 50;
const CONNECT_TIMEOUT_MS = 2_000;
/** Of the longest one, CREATE DATABASE, which writes a few megabytes to the disk. */
const QUERY_TIMEOUT_MS = 30_000;

/** With no sign of life, and while the server says that it is still recovering from a crash. */
const SILENT_DEADLINE_MS = 30_000;
const RECOVERING_DEADLINE_MS = 300_000;

/** SQLSTATE cannot_connect_now: starting up, recovering or shutting down. */
const CANNOT_CONNECT_NOW = "57P03";

/** Enough for what one failed start says, and not for an earlier one. */
const LOG_LINES_READ = 8;
const LOG_LINES_SHOWN = 4;
const LOG_BYTES_READ = 8_192;

export interface Awaited {
  readonly port: number;
  /** The `cluster_name` it was started with: that the port answers does not yet say that our server does. */
  readonly clusterName: string;
  readonly logPath: string;
  readonly exited: Promise<string>;
  readonly signal: AbortSignal;
}

/**
 * @returns a connection to the database `postgres`, for the caller to end
 * @throws {EmbeddedPostgresError} when the server ends, another one answers, the deadline passes, or on abort
 */
export async function connectWhenReady(server: Awaited): Promise<Client> {
  const { port, logPath, exited, signal } = server;
  const startedAt = performance.now();
  let ended: string | undefined;
  const watching = exited.then((how) => {
    ended = how;
  });
  for (;;) {
    const answer = await tryConnect(server);
    if (answer instanceof Client) {
      return answer;
    }
    if (answer instanceof EmbeddedPostgresError) {
      throw answer;
    }
    await Promise.race([delay(POLL_MS), watching]);
    if (signal.aborted) {
      throw new EmbeddedPostgresError("embedded PostgreSQL was closed while it started");
    }
    if (ended !== undefined) {
      throw await startFailed(`stopped while it started, ${ended}`, server);
    }
    const deadlineMs = codeOf(answer) === CANNOT_CONNECT_NOW ? RECOVERING_DEADLINE_MS : SILENT_DEADLINE_MS;
    if (performance.now() - startedAt > deadlineMs) {
      throw new EmbeddedPostgresError(
        `embedded PostgreSQL does not answer on port ${port} (${reasonOf(answer)}): see ${logPath}, or set DATABASE_URL`,
        { cause: answer },
      );
    }
  }
}

/** What to say of a port that cannot be listened on; `cause` is the error of the attempt, when there was one. */
export function portUnusable(port: number, cause?: unknown): EmbeddedPostgresError {
  const inUse = cause === undefined || codeOf(cause) === "EADDRINUSE";
  const problem = inUse
    ? `port ${port} on 127.0.0.1 is in use by another program`
    : `cannot listen on port ${port} of 127.0.0.1 (${reasonOf(cause)})`;
  return new EmbeddedPostgresError(
    `${problem}: set EMBEDDED_POSTGRES_PORT to a free port, or set DATABASE_URL`,
    { cause },
  );
}

/** @returns the connection to our own server, or what went wrong; a stranger's answer is an EmbeddedPostgresError */
async function tryConnect({ port, clusterName }: Awaited): Promise<unknown> {
  const client = new Client({
    host: "127.0.0.1",
    port,
    user: "postgres",
    database: "postgres",
    connectionTimeoutMillis: CONNECT_TIMEOUT_MS,
    query_timeout: QUERY_TIMEOUT_MS,
  });
  // The queries that wait on a broken connection fail by themselves; the event must only not go unheard.
  client.on("error", () => {});
  try {
    await client.connect();
    const { rows } = await client.query<{ cluster_name: string }>("SHOW cluster_name");
    if (rows[0]?.cluster_name !== clusterName) {
      throw portUnusable(port);
    }
    return client;
  } catch (error) {
    await client.end().catch(() => {});
    return error;
  }
}

async function startFailed(what: string, { port, logPath }: Awaited): Promise<EmbeddedPostgresError> {
  const lines = await lastLines(logPath);
  const refused = lines.find((line) => line.includes("could not bind"));
  if (refused !== undefined) {
    return portUnusable(port, refused.includes("Address already in use") ? undefined : new Error(refused));
  }
  const said = lines.slice(-LOG_LINES_SHOWN).join(" / ");
  return new EmbeddedPostgresError(
    `embedded PostgreSQL ${what}: ${said} (all of it in ${logPath}; set DATA_DIR to start with a new cluster, or set DATABASE_URL)`,
  );
}

async function lastLines(logPath: string): Promise<string[]> {
  const log = await open(logPath, "r");
  try {
    const { size } = await log.stat();
    const length = Math.min(size, LOG_BYTES_READ);
    const { buffer, bytesRead } = await log.read(Buffer.alloc(length), 0, length, size - length);
    return buffer.toString("utf8", 0, bytesRead).trim().split("\n").slice(-LOG_LINES_READ);
  } finally {
    await log.close();
  }
}
