/**
 * Reads DATABASE_URL as libpq reads a connection URI, so that what works in psql works here; what cannot be read, or is
 * not supported, is refused by name.
 *
 * Source: https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-CONNSTRING-URIS
 */

/** One server that a connection may be opened to. */
export interface ServerAddress {
  /** A name, an address, or the absolute path of the folder with the Unix socket. */
  readonly host: string;
  readonly port: number;
}

/** What a server must be, to be connected to. */
export const SESSION_TARGETS = ["any", "read-write", "primary"] as const;
export type SessionTarget = (typeof SESSION_TARGETS)[number];

/**
 * - `disable`: no TLS
 * - `prefer`: TLS where the server speaks it, without a check of its certificate
 * - `require`: TLS, without a check of the server's certificate; with `sslrootcert` as `verify-ca`
 * - `verify-ca`: the certificate must come from a known CA
 * - `verify-full`: and it must be for the host's name
 */
export const SSL_MODES = ["disable", "prefer", "require", "verify-ca", "verify-full"] as const;
export type SslMode = (typeof SSL_MODES)[number];

/** Where the database is. What is undefined is decided by `pg`: by PGUSER, PGPASSWORD, ~/.pgpass and so on. */
export interface ConnectionTarget {
  /** At least one, in the order in which they are tried. */
  readonly servers: readonly ServerAddress[];
  readonly session: SessionTarget;
  readonly user: string | undefined;
  readonly password: string | undefined;
  readonly database: string | undefined;
  readonly sslMode: SslMode;
  /** Files in PEM; `system` stands for the CAs that Node knows. */
  readonly sslRootCert: string | undefined;
  readonly sslCert: string | undefined;
  readonly sslKey: string | undefined;
  readonly applicationName: string | undefined;
  /** In milliseconds, for each server. */
  readonly connectTimeoutMs: number | undefined;
  /** Command-line options for the server's session. */
  readonly options: string | undefined;
}

/** The URL cannot be used; the message says what to write, and never holds the password. */
export class ConnectionStringError extends Error {
  override readonly name = "ConnectionStringError";
}

const FORM = "must be a URL such as postgres://user:password@host:5432/database";
const SCHEME = /^postgres(?:ql)?:\/\//;
const DEFAULT_HOST = "localhost";
const DEFAULT_PORT = "5432";
const PORT_MAX = 65_535;

/** Settings of libpq that change nothing here, with the values that they may have. */
const WITHOUT_EFFECT: Readonly<Record<string, readonly string[]>> = {
  channel_binding: ["prefer", "disable", "require"],
  client_encoding: ["utf8", "UTF8", "auto"],
  gssencmode: ["disable", "prefer"],
  keepalives: ["0", "1"],
  load_balance_hosts: ["disable"],
  sslnegotiation: ["postgres"],
  sslsni: ["0", "1"],
  uselibpqcompat: ["true", "false"],
};

/** What people write that libpq does not know, and what to write in its place. */
const INSTEAD: Readonly<Record<string, string>> = {
  ssl: "write sslmode=require",
  schema: "write options=-csearch_path%3DNAME, or set search_path for the role",
  search_path: "write options=-csearch_path%3DNAME, or set search_path for the role",
  pgbouncer: "leave it out: PgBouncer needs no setting",
  statement_timeout: "leave it out: the service sets its own",
};

/**
 * Reads a URL.
 *
 * @throws ConnectionStringError
 */
export function parseConnectionString(text: string): ConnectionTarget {
  const scheme = SCHEME.exec(text);
  if (scheme === null) {
    throw new ConnectionStringError(FORM);
  }
  const [address = "", ...query] = text.slice(scheme[0].length).split("?");
  const parameters = readParameters(query.join("?"));
  const { user, password, hosts, database } = readAddress(address);
  return {
    servers: serversOf(parameters.get("host")?.split(",") ?? hosts, parameters.get("port")?.split(",")),
    session: oneOf(parameters, "target_session_attrs", SESSION_TARGETS) ?? "any",
    user: parameters.get("user") ?? user,
    password: parameters.get("password") ?? password,
    database: parameters.get("dbname") ?? database,
    sslMode: sslModeOf(parameters),
    sslRootCert: parameters.get("sslrootcert"),
    sslCert: parameters.get("sslcert"),
    sslKey: parameters.get("sslkey"),
    applicationName: parameters.get("application_name"),
    connectTimeoutMs: connectTimeoutOf(parameters),
    options: parameters.get("options"),
  };
}

interface Address {
  readonly user: string | undefined;
  readonly password: string | undefined;
  /** `host:port` each; still encoded. */
  readonly hosts: readonly string[];
  readonly database: string | undefined;
}

/** The part before the question mark: an @ ends the credentials, and the first / the hosts. */
function readAddress(text: string): Address {
  const at = text.indexOf("@");
  const credentials = at === -1 ? "" : text.slice(0, at);
  const rest = text.slice(at + 1);
  // libpq would read something else here than was meant.
  if (rest.includes("@") || credentials.includes("/")) {
    throw new ConnectionStringError(
      "has an @ or a / too many: write one in the user or the password as %40 or %2F",
    );
  }
  const slash = rest.indexOf("/");
  const hosts = slash === -1 ? rest : rest.slice(0, slash);
  const colon = credentials.indexOf(":");
  const [user, password] =
    colon === -1 ? [credentials, ""] : [credentials.slice(0, colon), credentials.slice(colon + 1)];
  return {
    user: decode(user, "the user") || undefined,
    password: decode(password, "the password") || undefined,
    hosts: hosts.split(","),
    database: (slash === -1 ? "" : decode(rest.slice(slash + 1), "the database")) || undefined,
  };
}

const KNOWN = new Set([
  "host",
  "port",
  "user",
  "password",
  "dbname",
  "target_session_attrs",
  "sslmode",
  "sslrootcert",
  "sslcert",
  "sslkey",
  "application_name",
  "connect_timeout",
  "options",
]);

function readParameters(query: string): Map<string, string> {
  const parameters = new Map<string, string>();
  for (const pair of query.split("&").filter((each) => each !== "")) {
    const [name = "", ...value] = pair.split("=");
    const decoded = decode(value.join("="), `the parameter ${name}`);
    if (!KNOWN.has(name)) {
      requireWithoutEffect(name, decoded);
    }
    parameters.set(name, decoded);
  }
  return parameters;
}

function requireWithoutEffect(name: string, value: string): void {
  const allowed = WITHOUT_EFFECT[name];
  if (allowed === undefined) {
    throw new ConnectionStringError(
      `has the parameter ${name}, which is not supported: ${INSTEAD[name] ?? "leave it out"}`,
    );
  }
  if (!allowed.includes(value)) {
    throw new ConnectionStringError(`has ${name}=${value}: it may be ${allowed.join(" or ")}`);
  }
}

/** As in libpq: one port for all hosts, or one for each. */
function serversOf(hosts: readonly string[], ports: readonly string[] | undefined): ServerAddress[] {
  if (ports !== undefined && ports.length !== 1 && ports.length !== hosts.length) {
    throw new ConnectionStringError(`names ${hosts.length} hosts and ${ports.length} ports`);
  }
  return hosts.map((text, i) => {
    const [, bracketed, plain, port] = /^(?:\[([^\]]*)\]|([^:]*))(?::([^:]*))?$/.exec(text) ?? [];
    if (bracketed === undefined && plain === undefined) {
      throw new ConnectionStringError("has a host with several colons: write an IPv6 address in [ ]");
    }
    const host = decode(bracketed ?? plain ?? "", "a host") || DEFAULT_HOST;
    return { host, port: portOf(port || ports?.[ports.length === 1 ? 0 : i] || DEFAULT_PORT) };
  });
}

function portOf(text: string): number {
  const port = /^\d+$/.test(text) ? Number(text) : 0;
  if (port < 1 || port > PORT_MAX) {
    throw new ConnectionStringError(`has a port that is not a number from 1 to ${PORT_MAX}`);
  }
  return port;
}

function sslModeOf(parameters: ReadonlyMap<string, string>): SslMode {
  const mode = oneOf(parameters, "sslmode", SSL_MODES) ?? "prefer";
  return mode === "require" && parameters.has("sslrootcert") ? "verify-ca" : mode;
}

function connectTimeoutOf(parameters: ReadonlyMap<string, string>): number | undefined {
  const text = parameters.get("connect_timeout");
  if (text === undefined) {
    return undefined;
  }
  if (!/^\d+$/.test(text)) {
    throw new ConnectionStringError("has a connect_timeout that is not a whole number of seconds");
  }
  // 0 is libpq's word for no limit, which a service must not have.
  return Number(text) === 0 ? undefined : Number(text) * 1000;
}

function oneOf<T extends string>(
  parameters: ReadonlyMap<string, string>,
  name: string,
  values: readonly T[],
): T | undefined {
  const value = parameters.get(name);
  if (value !== undefined && !values.includes(value as T)) {
    throw new ConnectionStringError(
      `has ${name}=${value}, which is not supported: it may be ${values.join(", ")}`,
    );
  }
  return value as T | undefined;
}

/** `+` is no blank: libpq does not read forms. */
function decode(text: string, what: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    throw new ConnectionStringError(`has a % in ${what} that is followed by no code: write it as %25`);
  }
}
