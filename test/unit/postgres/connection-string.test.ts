import { ConnectionStringError, parseConnectionString } from "../../../src/postgres/connection-string.js";

/** What is expected of a URL, beyond the defaults. */
const DEFAULTS = {
  servers: [{ host: "localhost", port: 5432 }],
  session: "any",
  user: undefined,
  password: undefined,
  database: undefined,
  sslMode: "prefer",
  sslRootCert: undefined,
  sslCert: undefined,
  sslKey: undefined,
  applicationName: undefined,
  connectTimeoutMs: undefined,
  options: undefined,
};

it.each([
  ["postgres://", {}],
  ["postgresql://localhost", {}],
  ["postgresql://localhost/mydb", { database: "mydb" }],
  ["postgresql://user@localhost", { user: "user" }],
  ["postgresql://user:secret@localhost", { user: "user", password: "secret" }],
  [
    "postgresql://other@localhost/otherdb?connect_timeout=10&application_name=myapp",
    { user: "other", database: "otherdb", connectTimeoutMs: 10_000, applicationName: "myapp" },
  ],
  [
    "postgresql://host1:123,host2:456/somedb?target_session_attrs=read-write&application_name=myapp",
    {
      servers: [
        { host: "host1", port: 123 },
        { host: "host2", port: 456 },
      ],
      database: "somedb",
      session: "read-write",
      applicationName: "myapp",
    },
  ],
  [
    "postgres://host1,host2:5433/d",
    {
      servers: [
        { host: "host1", port: 5432 },
        { host: "host2", port: 5433 },
      ],
      database: "d",
    },
  ],
  [
    "postgresql:///mydb?host=localhost&port=5433",
    { servers: [{ host: "localhost", port: 5433 }], database: "mydb" },
  ],
  [
    "postgresql:///d?host=a,b&port=5433",
    {
      servers: [
        { host: "a", port: 5433 },
        { host: "b", port: 5433 },
      ],
      database: "d",
    },
  ],
  [
    "postgresql://[2001:db8::1234]/database",
    { servers: [{ host: "2001:db8::1234", port: 5432 }], database: "database" },
  ],
  ["postgresql://[::1]:5433/d", { servers: [{ host: "::1", port: 5433 }], database: "d" }],
  [
    "postgresql://%2Fvar%2Flib%2Fpostgresql/dbname",
    { servers: [{ host: "/var/lib/postgresql", port: 5432 }], database: "dbname" },
  ],
  [
    "postgres://u:a%2Fb@h/d?application_name=my app",
    {
      servers: [{ host: "h", port: 5432 }],
      user: "u",
      password: "a/b",
      database: "d",
      applicationName: "my app",
    },
  ],
  [
    "postgres://u:p%40%3A%25@h/d",
    { servers: [{ host: "h", port: 5432 }], user: "u", password: "p@:%", database: "d" },
  ],
  [
    "postgres://u:a+b@h/d",
    { servers: [{ host: "h", port: 5432 }], user: "u", password: "a+b", database: "d" },
  ],
  [
    "postgres://u:p:q@h/d",
    { servers: [{ host: "h", port: 5432 }], user: "u", password: "p:q", database: "d" },
  ],
  [
    "postgres://h/d?sslmode=require",
    { servers: [{ host: "h", port: 5432 }], database: "d", sslMode: "require" },
  ],
  [
    "postgres://h/d?sslmode=require&sslrootcert=/ca.pem",
    { servers: [{ host: "h", port: 5432 }], database: "d", sslMode: "verify-ca", sslRootCert: "/ca.pem" },
  ],
  [
    "postgres://h/d?options=-csearch_path%3Dapp&gssencmode=disable&channel_binding=require",
    { servers: [{ host: "h", port: 5432 }], database: "d", options: "-csearch_path=app" },
  ],
])("reads %s as libpq does", (url, expected) => {
  expect(parseConnectionString(url)).toEqual({ ...DEFAULTS, ...expected });
});

it.each([
  ["mysql://h/d", "must be a URL such as postgres://user:password@host:5432/database"],
  ["host=localhost dbname=d", "must be a URL such as"],
  ["postgres://u:p@ss@h/d", "write one in the user or the password as %40 or %2F"],
  ["postgres://u:a/b@h/d", "write one in the user or the password as %40 or %2F"],
  ["postgres://u:100%@h/d", "has a % in the password that is followed by no code: write it as %25"],
  ["postgres://h:port/d", "port that is not a number"],
  ["postgres://h:0/d", "port that is not a number"],
  ["postgres://2001:db8::1/d", "write an IPv6 address in [ ]"],
  ["postgres:///d?host=a,b,c&port=1,2", "names 3 hosts and 2 ports"],
  [
    "postgres://h/d?sslmode=allow",
    "has sslmode=allow, which is not supported: it may be disable, prefer, require",
  ],
  ["postgres://h/d?target_session_attrs=standby", "it may be any, read-write, primary"],
  ["postgres://h/d?ssl=true", "has the parameter ssl, which is not supported: write sslmode=require"],
  ["postgres://h/d?schema=app", "write options=-csearch_path%3DNAME"],
  ["postgres://h/d?pool_timeout=3", "has the parameter pool_timeout, which is not supported: leave it out"],
  ["postgres://h/d?connect_timeout=soon", "connect_timeout that is not a whole number of seconds"],
  ["postgres://h/d?gssencmode=require", "has gssencmode=require: it may be disable or prefer"],
])("refuses %s, and says what to write", (url, message) => {
  expect(() => parseConnectionString(url)).toThrow(ConnectionStringError);
  expect(() => parseConnectionString(url)).toThrow(message);
});

it.each(["postgres://u:hunter2@a@h/d", "postgres://u:hunter2%@h/d", "postgres://u:hunter2@h:x/d"])(
  "keeps the password of %s out of the message",
  (url) => {
    let message = "";
    try {
      parseConnectionString(url);
    } catch (error) {
      message = String(error);
    }
    expect(message).toMatch(/^ConnectionStringError: has /);
    expect(message).not.toContain("hunter2");
  },
);
