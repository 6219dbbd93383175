/** The settings: reads the environment, once, checks all of it, and says every fault at the same time. */
import { availableParallelism } from "node:os";
import { join } from "node:path";
import { spoolMinBytes } from "./buffer/spool/spool.js";
import { COMMAND_SETTINGS, RETENTION_MIN_DAYS } from "./config/command-settings.js";
import {
  ConfigError,
  type Environment,
  environmentName,
  type Faults,
  filePath,
  list,
  oneOf,
  onOrOff,
  readAll,
  type SettingTable,
  text,
  type Values,
  wholeNumber,
} from "./config/setting.js";
import { PROPERTY_PATTERN, REMOTE_IP_POLICIES } from "./ingest/admission.js";
import { queueMinBytes } from "./ingest/event-queue.js";
import { DEFAULT_REQUEST_MAX_BYTES } from "./rpc/limits.js";
import { isProxyRange, PROXY_HEADERS } from "./server/caller-address.js";
import { isOrigin } from "./server/cors.js";
import { DEFAULT_RPC_SERVER_LIMITS } from "./server/limits.js";

/** One setting, as `--help` and the documentation show it. */
export interface SettingDoc {
  /** In the environment. */
  readonly name: string;
  /** Heading under which it stands in the documentation. */
  readonly group: string;
  /** What a value looks like, with its bounds; empty: any text. */
  readonly format: string;
  /** As text; what happens when the setting is absent. */
  readonly default: string;
  readonly description: string;
}

export { ConfigError };

const ROLES = ["all", "edge", "writer"] as const;
const LOG_LEVELS = ["fatal", "error", "warn", "info", "debug", "trace", "silent"] as const;
/** Who may read without a token. */
const COUNTS_ACCESS = ["guarded", "open"] as const;
const WORKERS_MAX = 256;
const PROPERTIES_RULE = `must be names that match ${PROPERTY_PATTERN.source}, separated by commas`;

const TRUST_PROXY_RULE =
  "must be loopback, linklocal, uniquelocal, addresses or networks (10.0.0.0/8), separated by commas";

const CORS_ORIGINS_RULE =
  "must be origins as browsers send them (https://example.com, no slash at the end), separated by commas, or *";

function workerCount() {
  const rule = `must be a whole number from 1 to ${WORKERS_MAX}, or auto`;
  return text()
    .refine((value) => /^(auto|\d{1,3})$/.test(value), rule)
    .transform((value) => (value === "auto" ? Math.min(availableParallelism(), WORKERS_MAX) : Number(value)))
    .refine(isWorkerCount, rule)
    .meta({ format: `1 to ${WORKERS_MAX}, or auto` });
}

function isWorkerCount(value: unknown): value is number {
  return typeof value === "number" && value >= 1 && value <= WORKERS_MAX;
}

/** Each setting under its name in code: how it is read, what it is when absent, what it means. In docs' order. */
const SERVICE_SETTINGS = {
  host: COMMAND_SETTINGS.host,
  port: COMMAND_SETTINGS.port,
  adminHost: COMMAND_SETTINGS.adminHost,
  adminPort: COMMAND_SETTINGS.adminPort,
  role: oneOf(ROLES, `must be one of ${ROLES.join(", ")}`)
    .meta({ format: ROLES.join(", ") })
    .prefault("all")
    .describe(
      "What the process does: edge takes events and stores them in the buffer that BUFFER_URL names, writer writes them from there to PostgreSQL and answers queries, all does both.",
    ),
  workers: workerCount()
    .prefault("1")
    .describe(
      "Processes that take events, for more than one core; they share PORT. auto: one for each core. 1: no others.",
    ),
  databaseUrl: COMMAND_SETTINGS.databaseUrl,
  retentionDays: COMMAND_SETTINGS.retentionDays,
  dataDir: filePath()
    .prefault(".data")
    .describe(
      "Folder for what the service keeps on disk. As root in a folder closed to others: /var/lib/stats-service.",
    ),
  embeddedPostgresPort: COMMAND_SETTINGS.embeddedPostgresPort,
  counts: onOrOff()
    .prefault("on")
    .describe("Whether this service counts new events. off: another one does, or they are counted later."),
  countsIntervalMs: wholeNumber(100, 3_600_000)
    .prefault("2000")
    .describe(
      "Shortest time between two folds of new events into the counts, in milliseconds; longer while folds take long.",
    ),
  countsQuarterDays: wholeNumber(RETENTION_MIN_DAYS, 36_500)
    .prefault("35")
    .describe(
      "Days for which counts are kept by the quarter hour, of which the days of any time zone can be made.",
    ),
  countsHourDays: wholeNumber(RETENTION_MIN_DAYS, 36_500)
    .prefault("400")
    .describe("Days for which counts are kept by the hour. Those by the day (UTC) are kept for ever."),
  flushIntervalMs: wholeNumber(10, 60_000)
    .prefault("1000")
    .describe("Longest time that an event waits for its batch to be flushed, in milliseconds."),
  // Around a batch there is a kilobyte that QUEUE_MAX_BYTES does not count: little beside a hundred rows.
  flushMaxRows: wholeNumber(100, 100_000)
    .prefault("10000")
    .describe("Rows at which a batch is flushed before its time."),
  queueMaxBytes: wholeNumber(1, 2 ** 36)
    .prefault("67108864")
    .describe(
      "Memory for queued events of all workers, those in flight included, in bytes. About 80 bytes an event.",
    ),
  requestMaxBytes: wholeNumber(1024, 16 * 1024 * 1024)
    .prefault(String(DEFAULT_REQUEST_MAX_BYTES))
    .describe("Largest request message, in bytes, after decompression."),
  requestTimeoutMs: wholeNumber(DEFAULT_RPC_SERVER_LIMITS.headersTimeoutMs, 3_600_000)
    .prefault(String(DEFAULT_RPC_SERVER_LIMITS.requestTimeoutMs))
    .describe("Longest time for a request to arrive, body included, in milliseconds."),
  keepAliveTimeoutMs: wholeNumber(1_000, 3_600_000)
    .prefault(String(DEFAULT_RPC_SERVER_LIMITS.keepAliveTimeoutMs))
    .describe(
      "How long an HTTP/1.1 connection may wait for its next request, in milliseconds; longer than a balancer keeps it.",
    ),
  maxConnectionAgeMs: wholeNumber(0, 86_400_000)
    .prefault(String(DEFAULT_RPC_SERVER_LIMITS.maxConnectionAgeMs))
    .describe(
      "Age, give or take a tenth, at which a connection's client is told to open another, in milliseconds, so that load spreads again after a restart. 0: never.",
    ),
  maxConnections: wholeNumber(1, 1_000_000)
    .prefault(String(DEFAULT_RPC_SERVER_LIMITS.maxConnections))
    .describe("Most open connections of each worker on the RPC port; further ones are closed at once."),
  spoolDir: filePath()
    .optional("DATA_DIR/spool")
    .describe("Folder for events that PostgreSQL cannot take now. Of one running service alone."),
  spoolMaxBytes: wholeNumber(0, 2 ** 40)
    .prefault("1073741824")
    .describe(
      "Space for those events on disk, in bytes, counted in blocks of 4 KiB. 0: none are kept there.",
    ),
  bufferUrl: COMMAND_SETTINGS.bufferUrl,
  bufferCredentialsFile: COMMAND_SETTINGS.bufferCredentialsFile,
  bufferStream: COMMAND_SETTINGS.bufferStream,
  bufferReplicas: wholeNumber(1, 5)
    .optional()
    .describe("Servers that have each batch of the stream. Absent: 3 in a cluster, 1 on a single server."),
  bufferMaxBytes: wholeNumber(16 * 2 ** 20, 2 ** 44)
    .prefault("1073741824")
    .describe("Space for waiting batches in the stream, in bytes, once and not for each replica."),
  shutdownTimeoutMs: wholeNumber(0, 3_600_000)
    .prefault("25000")
    .describe("Longest time for calls in flight to finish and the queue to drain, in milliseconds."),
  lameDuckMs: wholeNumber(0, 3_600_000)
    .prefault("0")
    .describe("Time between reporting not ready and closing the port, for load balancers, in milliseconds."),
  authTokensFile: COMMAND_SETTINGS.authTokensFile,
  countsAccess: oneOf(COUNTS_ACCESS, `must be one of ${COUNTS_ACCESS.join(", ")}`)
    .meta({ format: COUNTS_ACCESS.join(" or ") })
    .prefault("guarded")
    .describe(
      "Who may read counts where there are no tokens. guarded: callers on this machine, if HOST is a loopback address. open: everyone who can reach HOST.",
    ),
  tlsCertFile: COMMAND_SETTINGS.tlsCertFile,
  tlsKeyFile: filePath().optional().describe("Private key of TLS_CERT_FILE, in PEM, not encrypted."),
  tlsClientCaFile: filePath()
    .optional()
    .describe(
      "CA certificates, in PEM: only clients with a certificate from one of them may connect (mutual TLS).",
    ),
  reflection: onOrOff()
    .prefault("on")
    .describe("Whether the RPC port describes its API to tools such as buf curl and grpcurl."),
  countsPage: onOrOff()
    .prefault("on")
    .describe("Whether / of the RPC port is a page that shows people what was counted."),
  trustProxy: list()
    .refine((ranges) => ranges.every(isProxyRange), TRUST_PROXY_RULE)
    .meta({ format: "addresses, networks, names of networks" })
    .optional()
    .describe(
      "Proxies whose word on a caller's address is believed, in TRUST_PROXY_HEADER: loopback, linklocal, uniquelocal, addresses, networks. Absent: none.",
    ),
  trustProxyHeader: oneOf(PROXY_HEADERS, `must be one of ${PROXY_HEADERS.join(", ")}`)
    .meta({ format: PROXY_HEADERS.join(", ") })
    .prefault("x-forwarded-for")
    .describe(
      "The one header that is read from proxies in TRUST_PROXY. Must be the one that they write: any other comes from the client.",
    ),
  remoteIp: oneOf(REMOTE_IP_POLICIES, `must be one of ${REMOTE_IP_POLICIES.join(", ")}`)
    .meta({ format: REMOTE_IP_POLICIES.join(", ") })
    .prefault("store")
    .describe(
      "What is stored of a caller's address: store (all of it), truncate (the /24 or /48 it is in) or drop.",
    ),
  corsOrigins: list()
    .refine((origins) => origins.every(isOrigin), CORS_ORIGINS_RULE)
    .meta({ format: "origins" })
    .optional()
    .describe(
      "Origins whose scripts may call from browsers (CORS), such as https://example.com; * for all. Absent: none.",
    ),
  properties: list()
    .refine((names) => names.every((name) => PROPERTY_PATTERN.test(name)), PROPERTIES_RULE)
    .transform((names): ReadonlySet<string> => new Set(names))
    .meta({ format: `names like \`${PROPERTY_PATTERN.source}\`` })
    .optional()
    .describe("Property names that are accepted, separated by commas. Absent: any."),
  countsQueryTimeoutMs: wholeNumber(100, 600_000)
    .prefault("10000")
    .describe("Longest time for a query of counts to run in PostgreSQL, in milliseconds."),
  countsMaxQueries: wholeNumber(1, 10_000)
    .prefault("16")
    .describe(
      "Most queries of counts of each worker that run or wait at a time, two of which run; further ones are refused.",
    ),
  metrics: onOrOff().prefault("on").describe("Whether /metrics is there, and calls are timed for it."),
  logLevel: oneOf(LOG_LEVELS, `must be one of ${LOG_LEVELS.join(", ")}`)
    .meta({ format: "level" })
    .prefault("info")
    .describe(`Lowest level that is logged: ${LOG_LEVELS.join(", ")}.`),
};

type ServiceSettings = Values<typeof SERVICE_SETTINGS>;

/** What the service runs by: its settings, and what follows from them. */
export type Config = Omit<ServiceSettings, "spoolDir" | "adminHost"> & {
  readonly spoolDir: string;
  readonly adminHost: string;
};

/** What is wrong between settings that are sound by themselves. One that is not is left out of `settings`. */
function contradictions(settings: Partial<ServiceSettings>): Faults {
  const { workers = 1, flushMaxRows = 0, queueMaxBytes = Number.POSITIVE_INFINITY } = settings;
  const { spoolMaxBytes = 0, tlsCertFile, tlsKeyFile, tlsClientCaFile } = settings;
  const faults: Faults = [];
  // Both are for the whole service, and each worker gets its share.
  const given = workers === 1 ? "this FLUSH_MAX_ROWS" : `this FLUSH_MAX_ROWS and ${workers} WORKERS`;
  const queueMinimum = queueMinBytes(flushMaxRows) * workers;
  if (queueMaxBytes < queueMinimum) {
    faults.push(["queueMaxBytes", `must be at least ${queueMinimum} with ${given}`]);
  }
  const spoolMinimum = spoolMinBytes(flushMaxRows) * workers;
  if (spoolMaxBytes !== 0 && spoolMaxBytes < spoolMinimum) {
    faults.push(["spoolMaxBytes", `must be 0, or at least ${spoolMinimum} with ${given}`]);
  }
  if (settings.spoolDir !== undefined && settings.spoolDir === settings.dataDir) {
    faults.push(["spoolDir", "must differ from DATA_DIR; a folder in it will do"]);
  }
  faults.push(...contradictionsOfRole(settings));
  if (tlsCertFile === undefined && tlsKeyFile !== undefined) {
    faults.push(["tlsCertFile", "is needed with TLS_KEY_FILE"]);
  }
  if (tlsCertFile !== undefined && tlsKeyFile === undefined) {
    faults.push(["tlsKeyFile", "is needed with TLS_CERT_FILE"]);
  }
  if (tlsClientCaFile !== undefined && tlsCertFile === undefined) {
    faults.push(["tlsClientCaFile", "needs TLS_CERT_FILE and TLS_KEY_FILE"]);
  }
  if (settings.port !== undefined && settings.port !== 0 && settings.port === settings.adminPort) {
    faults.push(["adminPort", "must differ from PORT"]);
  }
  return faults;
}

function contradictionsOfRole({ role, bufferUrl, databaseUrl, workers }: Partial<ServiceSettings>): Faults {
  const faults: Faults = [];
  if (role === undefined || role === "all") {
    return faults;
  }
  if (bufferUrl === undefined) {
    faults.push(["bufferUrl", `is needed with ROLE=${role}`]);
  }
  if (role === "edge" && databaseUrl !== undefined) {
    faults.push(["databaseUrl", "has no use with ROLE=edge: leave it out"]);
  }
  if (role === "writer" && databaseUrl === undefined) {
    faults.push(["databaseUrl", "is needed with ROLE=writer"]);
  }
  if (workers !== 1) {
    faults.push(["workers", `must be 1 with ROLE=${role}: start more processes instead`]);
  }
  return faults;
}

/** Those that commands read to find a service come last. */
const DOCUMENTED = {
  ...SERVICE_SETTINGS,
  statsUrl: COMMAND_SETTINGS.statsUrl,
  statsToken: COMMAND_SETTINGS.statsToken,
};

/** The settings that the service reads, by their names in code. */
export const serviceSettings: SettingTable = SERVICE_SETTINGS;

/** The first setting of each group in the documentation. A group goes on until the next one begins. */
const GROUP_STARTS: Readonly<Partial<Record<string, string>>> = {
  host: "Ports",
  databaseUrl: "Database and data",
  counts: "Counts",
  flushIntervalMs: "Queue and flush",
  requestMaxBytes: "Limits of the RPC port",
  spoolDir: "Spool",
  bufferUrl: "Shared buffer",
  shutdownTimeoutMs: "Stopping",
  authTokensFile: "Who may call",
  countsPage: "Counts",
  trustProxy: "Addresses and browsers",
  properties: "Events",
  countsQueryTimeoutMs: "Counts",
  metrics: "Metrics and log",
  statsUrl: "Commands that call a service",
} satisfies Partial<Record<keyof typeof DOCUMENTED, string>>;

function groupOf(key: string): string {
  const keys = Object.keys(DOCUMENTED);
  const start = keys.slice(0, keys.indexOf(key) + 1).findLast((other) => GROUP_STARTS[other] !== undefined);
  return GROUP_STARTS[start ?? ""] ?? "";
}

/** The settings for people to read, in order. */
export const settingDocs: readonly SettingDoc[] = Object.entries(DOCUMENTED).map(([key, setting]) => ({
  name: environmentName(key),
  group: groupOf(key),
  format: setting.format,
  default: setting.default,
  description: setting.description,
}));

/**
 * Reads all settings of the service, and judges them against each other. An empty value counts as absent.
 *
 * @throws ConfigError that names each setting at fault
 */
export function loadConfig(environment: Environment): Config {
  const { values, faults } = readAll(SERVICE_SETTINGS, environment);
  faults.push(...contradictions(values));
  if (faults.length > 0) {
    throw new ConfigError(faults);
  }
  const settings = values as ServiceSettings;
  return Object.freeze({
    ...settings,
    spoolDir: settings.spoolDir ?? join(settings.dataDir, "spool"),
    adminHost: settings.adminHost ?? settings.host,
  });
}
