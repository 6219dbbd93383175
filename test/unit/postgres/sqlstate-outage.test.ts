import { DatabaseError } from "pg";
import { MigrationError } from "../../../src/postgres/migrate.js";
import { isOutage } from "../../../src/postgres/sqlstate.js";

function fromPostgres(code: string): DatabaseError {
  return Object.assign(new DatabaseError("said PostgreSQL", 100, "error"), { severity: "FATAL", code });
}

function fromSystem(code: string, syscall: string): Error {
  return Object.assign(new Error(`${syscall} ${code}`), { code, syscall });
}

describe("isOutage", () => {
  it.each([
    ["a refused connection", fromSystem("ECONNREFUSED", "connect")],
    ["a connection that was reset", fromSystem("ECONNRESET", "read")],
    ["a host that is away", fromSystem("EHOSTUNREACH", "connect")],
    ["a name that is not found", fromSystem("ENOTFOUND", "getaddrinfo")],
    ["a name server that does not answer", fromSystem("EAI_AGAIN", "getaddrinfo")],
    ["a Unix socket whose server is down", fromSystem("ENOENT", "connect")],
    [
      "a host one of whose addresses refuses",
      new AggregateError([fromSystem("EACCES", "connect"), fromSystem("ECONNREFUSED", "connect")]),
    ],
    ["a connection that ends", new Error("Connection terminated unexpectedly")],
    ["a connection that takes too long", new Error("Connection terminated due to connection timeout")],
    ["a login that takes too long", new Error("timeout expired")],
    ["a pool that is busy for too long", new Error("timeout exceeded when trying to connect")],
    ["an answer that takes too long", new Error("Query read timeout")],
    ["a server that is starting", fromPostgres("57P03")],
    ["a server that is full", fromPostgres("53300")],
    ["a lock that is held", fromPostgres("55P03")],
  ])("takes %s for one", (_, error) => {
    expect(isOutage(error)).toBe(true);
  });

  it.each([
    ["a file that the URL names and that is not there", fromSystem("ENOENT", "open")],
    ["a file that may not be read", fromSystem("EACCES", "open")],
    ["a folder instead of a file", fromSystem("EISDIR", "read")],
    ["a certificate that nobody vouches for", fromSystem("DEPTH_ZERO_SELF_SIGNED_CERT", "connect")],
    ["a server without TLS", new Error("The server does not support SSL connections")],
    [
      "a password that is missing",
      new Error("SASL: SCRAM-SERVER-FIRST-MESSAGE: client password must be a string"),
    ],
    ["a URL that cannot be decoded", new URIError("URI malformed")],
    ["a wrong password", fromPostgres("28P01")],
    ["a schema that is newer", new MigrationError("newer")],
    ["a bug", new TypeError("undefined is not a function")],
    ["nothing", undefined],
  ])("does not take %s for one", (_, error) => {
    expect(isOutage(error)).toBe(false);
  });
});
