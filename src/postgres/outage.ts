/** Tells a database that is out of reach from one that will never be reached like this; it waits for nothing. */
import { classifyFault, sqlstateOf } from "./sqlstate.js";

/** What sockets and name servers say of a peer that may well be back. */
const CONNECTION_CODES = new Set([
  "ECONNREFUSED",
  "ECONNRESET",
  "ECONNABORTED",
  "EPIPE",
  "ETIMEDOUT",
  "EHOSTUNREACH",
  "EHOSTDOWN",
  "ENETUNREACH",
  "ENETDOWN",
  "EADDRNOTAVAIL",
  "ENOTFOUND",
  "EAI_AGAIN",
]);

/** What `pg` says of a connection that broke or took too long; it has no codes. */
const PG_MESSAGE =
  /^(Connection terminated|timeout e|Query read timeout|Client has encountered a connection)/;

/**
 * True when the fault of a connection attempt or a statement may pass without anybody changing a setting: PostgreSQL
 * says so itself, or the connection could not be had or broke. Whatever else is false: a certificate, a file that a URL
 * names, a password that is missing.
 */
export function isOutage(error: unknown): boolean {
  if (sqlstateOf(error) !== undefined) {
    return classifyFault(error) === "transient";
  }
  const { code, syscall, message, errors } = (error ?? {}) as {
    code?: unknown;
    syscall?: unknown;
    message?: unknown;
    errors?: unknown[];
  };
  // Of a host with several addresses: one that may be back is enough.
  if (errors !== undefined) {
    return errors.some(isOutage);
  }
  if (typeof code === "string") {
    // Without its server, the file of a Unix socket is not there either.
    return CONNECTION_CODES.has(code) || (code === "ENOENT" && syscall === "connect");
  }
  return PG_MESSAGE.test(String(message));
}
