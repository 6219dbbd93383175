import { AssertionError } from "node:assert";
import { DatabaseError } from "pg";
import { classifyFault, sqlstateOf } from "../../../src/postgres/sqlstate.js";
import { SinkError } from "../../../src/sink/sink.js";
import type { FaultClass } from "../../../src/util/fault-class.js";

/** An error as pg makes it of what PostgreSQL sends. */
function fromPostgres(code: string, fields: Partial<DatabaseError> = {}): DatabaseError {
  const error = new DatabaseError("said PostgreSQL", 100, "error");
  return Object.assign(error, { severity: "ERROR", code, ...fields });
}

/** An error as Node makes it of a failed system call. */
function fromSocket(code: string): Error {
  return Object.assign(new Error(`connect ${code} 127.0.0.1:5432`), { code, syscall: "connect" });
}

describe("classifyFault", () => {
  it.each<[string, string, FaultClass]>([
    ["08000", "connection exception", "transient"],
    ["08006", "connection failure", "transient"],
    ["08P01", "protocol violation", "transient"],
    ["40001", "serialization failure", "transient"],
    ["40P01", "deadlock detected", "transient"],
    ["53100", "disk full", "transient"],
    ["53200", "out of memory", "transient"],
    ["53300", "too many connections", "transient"],
    ["55P03", "lock not available", "transient"],
    ["57014", "query cancelled", "transient"],
    ["57P01", "admin shutdown", "transient"],
    ["57P03", "cannot connect now", "transient"],
    ["58000", "system error", "transient"],
    ["58030", "I/O error", "transient"],
    ["25006", "read-only transaction: a standby", "transient"],
    ["23505", "unique violation", "duplicate"],
    ["22001", "string too long", "row"],
    ["22003", "number out of range", "row"],
    ["22021", "character not in repertoire", "row"],
    ["22P02", "invalid text representation", "row"],
    ["23502", "not null violation, raised by a trigger", "row"],
    ["23503", "foreign key violation", "row"],
    ["23514", "check violation, raised by a trigger", "row"],
    ["23P01", "exclusion violation", "row"],
    ["22P03", "invalid binary representation: the column's type was changed", "schema"],
    ["22P04", "bad COPY file format: the columns were changed", "schema"],
    ["42501", "insufficient privilege", "schema"],
    ["42601", "syntax error", "schema"],
    ["42703", "undefined column", "schema"],
    ["42P01", "undefined table", "schema"],
    ["3D000", "no such database", "schema"],
    ["3F000", "no such schema", "schema"],
    ["28000", "role may not log in", "schema"],
    ["28P01", "wrong password", "schema"],
    ["0A000", "feature not supported", "schema"],
    ["25001", "active transaction", "unknown"],
    ["40003", "statement completion unknown", "unknown"],
    ["54000", "program limit exceeded", "unknown"],
    ["55000", "object not in prerequisite state", "unknown"],
    ["P0001", "raised by a trigger", "row"],
    ["P0004", "assertion failed in a trigger", "unknown"],
    ["XX000", "internal error", "unknown"],
  ])("takes %s (%s) for %s", (code, _, faultClass) => {
    expect(classifyFault(fromPostgres(code))).toBe(faultClass);
  });

  it("takes a check violation of a table for the row's fault if it names a constraint, else for a missing partition", () => {
    expect(classifyFault(fromPostgres("23514", { table: "incoming", constraint: "no_bad" }))).toBe("row");
    expect(classifyFault(fromPostgres("23514", { table: "incoming" }))).toBe("schema");
  });

  it("takes a NULL for the row's fault only in remote_ip, where we write one", () => {
    expect(classifyFault(fromPostgres("23502", { column: "remote_ip" }))).toBe("row");
    expect(classifyFault(fromPostgres("23502", { column: "tenant" }))).toBe("schema");
    expect(classifyFault(fromPostgres("23502", { dataType: "tenant_name" }))).toBe("schema");
  });

  it.each([
    ["a refused connection", fromSocket("ECONNREFUSED")],
    ["a reset connection", fromSocket("ECONNRESET")],
    ["an unreachable host", fromSocket("EHOSTUNREACH")],
    // Five characters, capital letters: it must not pass for a SQLSTATE.
    ["a broken pipe", fromSocket("EPIPE")],
    ["a name that is not found", fromSocket("ENOTFOUND")],
    ["all addresses of a host refused", new AggregateError([fromSocket("ECONNREFUSED")])],
    ["pg's connection time-out", new Error("timeout exceeded when trying to connect")],
    ["pg's statement time-out", new Error("Query read timeout")],
    ["pg's closed connection", new Error("Connection terminated unexpectedly")],
  ])("takes %s for transient", (_, error) => {
    expect(classifyFault(error)).toBe("transient");
  });

  it.each([
    ["a TypeError", new TypeError("undefined is not a function")],
    ["a RangeError", new RangeError("Invalid array length")],
    ["a ReferenceError", new ReferenceError("x is not defined")],
    ["a SyntaxError", new SyntaxError("Unexpected end of JSON input")],
    ["a failed assertion", new AssertionError({ message: "must not be" })],
    ["a thrown string", "oops"],
    ["nothing", undefined],
    ["null", null],
  ])("takes %s for unknown: it is a bug, not an outage", (_, error) => {
    expect(classifyFault(error)).toBe("unknown");
  });

  it("believes an error of ours that tells its class", () => {
    expect(classifyFault(new SinkError("schema", "08006", new TypeError("bug")))).toBe("schema");
  });
});

describe("sqlstateOf", () => {
  it("gives the code of an error that came from PostgreSQL", () => {
    expect(sqlstateOf(fromPostgres("40P01"))).toBe("40P01");
  });

  it.each([[fromSocket("EPIPE")], [new Error("no code")], ["40P01"], [undefined], [null]])(
    "gives none for %p",
    (error) => {
      expect(sqlstateOf(error)).toBeUndefined();
    },
  );
});
