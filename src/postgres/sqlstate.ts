/**
 * Classifies what went wrong between us and PostgreSQL: by the code of an error, and, where there was no answer, by what
 * the connection ended with.
 *
 * Codes: https://www.postgresql.org/docs/current/errcodes-appendix.html
 */
import { messageOf } from "../util/error-message.js";
import type { FaultClass } from "../util/fault-class.js";

export const EXCLUSION_VIOLATION = "23P01";
export const READ_ONLY_TRANSACTION = "25006";
export const DEPENDENT_OBJECTS_STILL_EXIST = "2BP01";
export const LOCK_NOT_AVAILABLE = "55P03";
export const QUERY_CANCELED = "57014";
export const DUPLICATE_TABLE = "42P07";
export const DUPLICATE_PREPARED_STATEMENT = "42P05";
export const UNKNOWN_PREPARED_STATEMENT = "26000";
export const INSUFFICIENT_PRIVILEGE = "42501";

const INVALID_BINARY_REPRESENTATION = "22P03";
const BAD_COPY_FILE_FORMAT = "22P04";
const NOT_NULL_VIOLATION = "23502";
const UNIQUE_VIOLATION = "23505";
const CHECK_VIOLATION = "23514";
export const SERIALIZATION_FAILURE = "40001";
const DEADLOCK_DETECTED = "40P01";
/** What RAISE EXCEPTION gives unless told otherwise: how triggers refuse a row. */
const RAISE_EXCEPTION = "P0001";

const TRANSIENT_CODES = new Set([
  READ_ONLY_TRANSACTION,
  SERIALIZATION_FAILURE,
  DEADLOCK_DETECTED,
  LOCK_NOT_AVAILABLE,
]);

/** Our encoding no longer fits the columns' types: the table was altered, so no single row is to blame. */
const ENCODING_CODES = new Set([INVALID_BINARY_REPRESENTATION, BAD_COPY_FILE_FORMAT]);

/** Connection, resources, operator intervention, system errors. */
const TRANSIENT_CLASSES = new Set(["08", "53", "57", "58"]);
/** Syntax or access rule, no such catalog, no such schema, authorisation, feature not supported. */
const SCHEMA_CLASSES = new Set(["42", "3D", "3F", "28", "0A"]);
/** Data exception, integrity constraint. */
const ROW_CLASSES = new Set(["22", "23"]);

const SQLSTATE_PATTERN = /^[0-9A-Z]{5}$/;

/** PostgreSQL's five-character code, when the error came from PostgreSQL. */
export function sqlstateOf(error: unknown): string | undefined {
  const code = (error as { code?: unknown } | null | undefined)?.code;
  const severity = (error as { severity?: unknown } | null | undefined)?.severity;
  return typeof code === "string" && typeof severity === "string" && SQLSTATE_PATTERN.test(code)
    ? code
    : undefined;
}

/** PostgreSQL, or a pooler in front of it, has ended the connection or does not want it. */
export function isFatal(error: unknown): boolean {
  const severity = (error as { severity?: unknown } | null | undefined)?.severity;
  return severity === "FATAL" || severity === "PANIC";
}

/**
 * The class of any error that a statement or a connection attempt can end with. An error of our own that carries
 * a `faultClass` is of that class.
 */
export function classifyFault(error: unknown): FaultClass {
  const own = (error as { faultClass?: FaultClass } | null | undefined)?.faultClass;
  if (own !== undefined) {
    return own;
  }
  const sqlstate = sqlstateOf(error);
  if (sqlstate === undefined) {
    return classifyUncoded(error);
  }
  const sqlstateClass = sqlstate.slice(0, 2);
  if (isLastingRefusal(sqlstate, error)) {
    return "schema";
  }
  if (sqlstate === UNIQUE_VIOLATION) {
    return "duplicate";
  }
  if (TRANSIENT_CODES.has(sqlstate) || TRANSIENT_CLASSES.has(sqlstateClass)) {
    return "transient";
  }
  if (
    SCHEMA_CLASSES.has(sqlstateClass) ||
    ENCODING_CODES.has(sqlstate) ||
    isMissingPartition(sqlstate, error) ||
    isForeignColumn(sqlstate, error)
  ) {
    return "schema";
  }
  return ROW_CLASSES.has(sqlstateClass) || sqlstate === RAISE_EXCEPTION ? "row" : "unknown";
}

const PROTOCOL_VIOLATION = "08P01";
/** PgBouncer gives most of its refusals one code, those that pass and those that do not. */
const POOLER_REFUSAL =
  /unsupported startup parameter|no such (?:database|user)|authentication failed|not allowed|bouncer config error/;

/**
 * A connection that is refused with FATAL, for a reason that does not pass by itself: no row is to blame, whatever the
 * code says elsewhere.
 */
function isLastingRefusal(sqlstate: string, error: unknown): boolean {
  if (!isFatal(error)) {
    return false;
  }
  return sqlstate === PROTOCOL_VIOLATION
    ? POOLER_REFUSAL.test(messageOf(error))
    : !TRANSIENT_CODES.has(sqlstate) && !TRANSIENT_CLASSES.has(sqlstate.slice(0, 2));
}

/** Codes of Node's and OpenSSL's for a certificate that is not accepted, by us or by the server. */
const CERTIFICATE_CODE =
  /^(ERR_TLS_|ERR_OSSL_|ERR_SSL_|CERT_|DEPTH_ZERO_|SELF_SIGNED_|UNABLE_TO_|INVALID_CA|HOSTNAME_MISMATCH)/;
/** What `pg` says of connections that will never be; it has no codes. */
const LASTING_PG_MESSAGE =
  /^(The server does not support SSL|SASL: |Unknown authenticationOk|password must be)/;

function classifyUncoded(error: unknown): FaultClass {
  const { code, errors } = (error ?? {}) as { code?: unknown; errors?: unknown[] };
  if (errors !== undefined && errors.length > 0) {
    // Of several servers: one that may be back is enough.
    const classes = errors.map(classifyFault);
    return classes.every((each) => each === "schema") ? "schema" : "transient";
  }
  if (CERTIFICATE_CODE.test(String(code)) || LASTING_PG_MESSAGE.test(messageOf(error))) {
    return "schema";
  }
  return isProgramFault(error) ? "unknown" : "transient";
}

/** What PostgreSQL names in an error of its own. A trigger's RAISE with the same code names nothing: it is about the row. */
interface Named {
  readonly table?: string;
  readonly column?: string;
  readonly dataType?: string;
  readonly constraint?: string;
}

/** "no partition of relation found for row" has the code of a check violation, but names no constraint. */
function isMissingPartition(sqlstate: string, error: unknown): boolean {
  const { table, constraint } = error as Named;
  return sqlstate === CHECK_VIOLATION && !constraint && table !== undefined;
}

/** The one column in which we ever write NULL: in any other, a NULL comes of a column that we do not know. */
const NULLABLE_COLUMN = "remote_ip";

/** A column that we do not write was added, must not be NULL (its domain may say so), and has no default. */
function isForeignColumn(sqlstate: string, error: unknown): boolean {
  const { column, dataType } = error as Named;
  return sqlstate === NOT_NULL_VIOLATION && column !== NULLABLE_COLUMN && (column ?? dataType) !== undefined;
}

const PROGRAM_ERRORS = new Set([
  "TypeError",
  "RangeError",
  "ReferenceError",
  "SyntaxError",
  "AssertionError",
]);

/** A bug of ours, as opposed to a socket, DNS or time-out error of Node's or pg's. */
function isProgramFault(error: unknown): boolean {
  const { name, message } = (error ?? {}) as { name?: unknown; message?: unknown };
  return typeof message !== "string" || PROGRAM_ERRORS.has(String(name));
}

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
  const own = (error as { faultClass?: FaultClass } | null | undefined)?.faultClass;
  if (own !== undefined || sqlstateOf(error) !== undefined) {
    return classifyFault(error) === "transient";
  }
  const { code, syscall, message, errors } = (error ?? {}) as {
    code?: unknown;
    syscall?: unknown;
    message?: unknown;
    errors?: unknown[];
  };
  // Of several hosts, or a host with several addresses: one that may be back is enough.
  if (errors !== undefined) {
    return errors.some(isOutage);
  }
  if (typeof code === "string") {
    // Without its server, the file of a Unix socket is not there either.
    return CONNECTION_CODES.has(code) || (code === "ENOENT" && syscall === "connect");
  }
  return PG_MESSAGE.test(String(message));
}
