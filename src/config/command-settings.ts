/**
 * The settings that commands read, those of the service among them: where it is, where its database is. They load nothing
 * of the service, so that a command is there at once.
 */
import { NATS_URL_EXAMPLE, NATS_URL_RULE, parseNatsUrl } from "../buffer/jetstream/nats-url.js";
import { parseConnectionString } from "../postgres/connection-string.js";
import { messageOf } from "../util/error-message.js";
import {
  ConfigError,
  type Environment,
  filePath,
  readAll,
  type SettingTable,
  text,
  type Values,
  wholeNumber,
} from "./setting.js";

const PORT_MAX = 65_535;
const POSTGRES_URL_EXAMPLE = "postgres://user:password@host:5432/database";
/** An event may be a week old when it comes, and must then find its day, and itself if it came before. */
export const RETENTION_MIN_DAYS = 8;

/** Why a connection string cannot be used; undefined when it can. */
function connectionStringFault(value: string): string | undefined {
  try {
    parseConnectionString(value);
    return undefined;
  } catch (error) {
    return messageOf(error);
  }
}

function isNatsUrl(value: string): boolean {
  try {
    parseNatsUrl(value);
    return true;
  } catch {
    return false;
  }
}

function isHttpUrl(value: string): boolean {
  return URL.canParse(value) && /^https?:$/.test(new URL(value).protocol);
}

/** Each under its name in code: how it is read, what it is when absent, what it means. */
export const COMMAND_SETTINGS = {
  host: text()
    .meta({ format: "IP address or host name" })
    .prefault("127.0.0.1")
    .describe("Address that the RPC port listens on; :: for all, of IPv4 and IPv6."),
  adminHost: text()
    .meta({ format: "IP address or host name" })
    .optional("HOST")
    .describe(
      "Address that the admin port listens on, so that it can be private where the RPC port is public.",
    ),
  port: wholeNumber(0, PORT_MAX)
    .prefault("3000")
    .describe("RPC port: Connect, gRPC and gRPC-Web, over HTTP/1.1 and HTTP/2. 0: any free one."),
  adminPort: wholeNumber(0, PORT_MAX)
    .prefault("3001")
    .describe("Port for the live page, /healthz, /readyz, /status and /metrics. 0: any free one."),
  databaseUrl: text()
    .check(connectionStringFault)
    .meta({ format: POSTGRES_URL_EXAMPLE })
    .optional()
    .describe(
      "PostgreSQL, 13 to 18, by a URL that is read as libpq reads it, with several hosts if need be. Absent: a PostgreSQL of the service's own, kept in DATA_DIR.",
    ),
  retentionDays: wholeNumber(RETENTION_MIN_DAYS, 36_500)
    .optional()
    .describe(
      "Days after which events and dead letters are dropped, in whole days (UTC). Absent: they are kept for ever.",
    ),
  embeddedPostgresPort: wholeNumber(1, PORT_MAX)
    .prefault("54329")
    .describe("Port of the embedded PostgreSQL, on 127.0.0.1 (user postgres, database stats)."),
  authTokensFile: filePath()
    .optional()
    .describe(
      "File of the bearer tokens that callers must have; see `token create`. Read again on SIGHUP. Absent: anyone may call.",
    ),
  tlsCertFile: filePath()
    .optional()
    .describe(
      "Certificate chain of the RPC port, in PEM. Read again when it changes, and on SIGHUP. Absent: no TLS.",
    ),
  bufferUrl: text()
    .refine(isNatsUrl, NATS_URL_RULE)
    .meta({ format: NATS_URL_EXAMPLE })
    .optional()
    .describe(
      "NATS servers with JetStream whose stream is the buffer in place of the spool, shared by all processes that name it; tls:// for TLS. Absent: the spool is the buffer.",
    ),
  bufferCredentialsFile: filePath()
    .optional()
    .describe("Credentials for the NATS servers, as `nsc` writes them. Read again for each connection."),
  bufferStream: text()
    .refine((name) => /^[A-Za-z0-9_-]{1,64}$/.test(name), "must be letters, digits, _ and -")
    .meta({ format: "letters, digits, _ and -" })
    .prefault("stats")
    .describe("Name of the stream. It is made when it is missing, and checked when it is there."),
  statsUrl: text()
    .refine(isHttpUrl, "must be a URL such as http://127.0.0.1:3000")
    .meta({ format: "http:// or https:// URL" })
    .optional("http://HOST:PORT")
    .describe("RPC port of the service that `push` and `counts` call. Absent: the one at HOST and PORT."),
  statsToken: text()
    .meta({ format: "token" })
    .optional()
    .describe("Bearer token that `push` and `counts` send, if the service asks for one."),
} satisfies SettingTable;

/** Times are in milliseconds, folders and files are absolute. */
export type Settings = Values<typeof COMMAND_SETTINGS>;

export type SettingName = keyof Settings;

/**
 * Reads some settings and looks at no other. An empty value counts as absent.
 *
 * @throws ConfigError that names each setting at fault
 */
export function readSettings<Name extends SettingName>(
  names: readonly Name[],
  environment: Environment,
): Pick<Settings, Name> {
  const table = Object.fromEntries(names.map((name) => [name, COMMAND_SETTINGS[name]]));
  const { values, faults } = readAll(table, environment);
  if (faults.length > 0) {
    throw new ConfigError(faults);
  }
  return Object.freeze(values) as Pick<Settings, Name>;
}
