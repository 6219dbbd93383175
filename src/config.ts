/** The settings: reads the environment, once, checks all of it, and says every fault at the same time. */
import { availableParallelism } from "node:os";
import { join, resolve } from "node:path";
import { z } from "zod";
import { PROPERTY_PATTERN } from "./ingest/admission.js";
import { queueMinBytes } from "./ingest/event-queue.js";
import { spoolMinBytes } from "./sink/spool.js";

/** One setting, as `--help` and the documentation show it. */
export interface SettingDoc {
  readonly name: string;
  /** As text; what happens when the setting is absent. */
  readonly default: string;
  readonly description: string;
}

/** The settings are not usable; the message has a line for each fault. */
export class ConfigError extends Error {
  override readonly name = "ConfigError";
}

const LOG_LEVELS = ["fatal", "error", "warn", "info", "debug", "trace", "silent"] as const;
const PORT_MAX = 65_535;
const WORKERS_MAX = 256;
const PROPERTIES_RULE = `must be names that match ${PROPERTY_PATTERN.source}, separated by commas`;

function wholeNumber(min: number, max: number) {
  const rule = `must be a whole number from ${min} to ${max}`;
  return z
    .string()
    .regex(/^\d{1,15}$/, rule)
    .transform(Number)
    .refine((value) => value >= min && value <= max, rule);
}

function workerCount() {
  const rule = `must be a whole number from 1 to ${WORKERS_MAX}, or auto`;
  return z
    .string()
    .regex(/^(auto|\d{1,3})$/, rule)
    .transform((value) => (value === "auto" ? Math.min(availableParallelism(), WORKERS_MAX) : Number(value)))
    .refine(isWorkerCount, rule);
}

function isWorkerCount(value: unknown): value is number {
  return typeof value === "number" && value >= 1 && value <= WORKERS_MAX;
}

function isPostgresUrl(value: string): boolean {
  return URL.canParse(value) && /^postgres(ql)?:$/.test(new URL(value).protocol);
}

/**
 * Left to itself, zod would judge settings against each other only when each is sound by itself. The value of one
 * that is not may be its text here, which makes comparisons with it false.
 */
const EVEN_IF_A_SETTING_IS_AT_FAULT = { when: () => true };

/** Each setting under its name in code: how it is read, what it is when absent, what it means. In docs' order. */
const settings = z
  .object({
    host: z
      .string()
      .prefault("127.0.0.1")
      .describe("Address that the RPC and admin ports listen on; 0.0.0.0 for all."),
    port: wholeNumber(0, PORT_MAX)
      .prefault("3000")
      .describe("RPC port: Connect, gRPC and gRPC-Web, over HTTP/1.1 and HTTP/2 cleartext. 0: any free one."),
    adminPort: wholeNumber(0, PORT_MAX)
      .prefault("3001")
      .describe("Port for /healthz and /readyz. 0: any free one."),
    workers: workerCount()
      .prefault("1")
      .describe(
        "Processes that take events, for more than one core; they share PORT. auto: one for each core. 1: no others.",
      ),
    databaseUrl: z
      .string()
      .refine(isPostgresUrl, "must look like postgres://user:password@host:5432/database")
      .optional()
      .describe("PostgreSQL, 13 to 18. Absent: a PostgreSQL of the service's own, kept in DATA_DIR."),
    dataDir: z
      .string()
      .transform((path) => resolve(path))
      .prefault(".data")
      .describe(
        "Folder for what the service keeps on disk. As root in a folder closed to others: /var/lib/stats-service.",
      ),
    embeddedPostgresPort: wholeNumber(1, PORT_MAX)
      .prefault("54329")
      .describe("Port of the embedded PostgreSQL, on 127.0.0.1 (user postgres, database stats)."),
    flushIntervalMs: wholeNumber(10, 60_000)
      .prefault("1000")
      .describe("Longest time that an event waits for its batch to be flushed, in milliseconds."),
    flushMaxRows: wholeNumber(1, 100_000)
      .prefault("10000")
      .describe("Rows at which a batch is flushed before its time."),
    queueMaxBytes: wholeNumber(1, 2 ** 36)
      .prefault("67108864")
      .describe(
        "Memory for queued events of all workers, those in flight included, in bytes. About 80 bytes an event.",
      ),
    batchMaxEvents: wholeNumber(1, 100_000)
      .prefault("10000")
      .describe("Most events in one PushBatch, which may have up to 1 MiB besides."),
    spoolDir: z
      .string()
      .transform((path) => resolve(path))
      .optional()
      .describe("Folder for events that PostgreSQL cannot take now. Of one running service alone."),
    spoolMaxBytes: wholeNumber(0, 2 ** 40)
      .prefault("1073741824")
      .describe(
        "Space for those events on disk, in bytes, counted in blocks of 4 KiB. 0: none are kept there.",
      ),
    shutdownTimeoutMs: wholeNumber(0, 3_600_000)
      .prefault("25000")
      .describe("Longest time for calls in flight to finish and the queue to drain, in milliseconds."),
    lameDuckMs: wholeNumber(0, 3_600_000)
      .prefault("0")
      .describe(
        "Time between reporting not ready and closing the port, for load balancers, in milliseconds.",
      ),
    properties: z
      .string()
      .transform((list) => list.split(",").map((name) => name.trim()))
      .refine((names) => names.every((name) => PROPERTY_PATTERN.test(name)), PROPERTIES_RULE)
      .transform((names): ReadonlySet<string> => new Set(names))
      .optional()
      .describe("Property names that are accepted, separated by commas. Absent: any."),
    logLevel: z
      .enum(LOG_LEVELS, `must be one of ${LOG_LEVELS.join(", ")}`)
      .prefault("info")
      .describe(`Lowest level that is logged: ${LOG_LEVELS.join(", ")}.`),
  })
  .superRefine((config, context) => {
    const fault = (path: string, message: string) =>
      context.addIssue({ code: "custom", path: [path], message });
    // Both are for the whole service, and each worker gets its share.
    const workers = isWorkerCount(config.workers) ? config.workers : 1;
    const given = workers === 1 ? "this FLUSH_MAX_ROWS" : `this FLUSH_MAX_ROWS and ${workers} WORKERS`;
    const minimum = queueMinBytes(config.flushMaxRows) * workers;
    if (config.queueMaxBytes < minimum) {
      fault("queueMaxBytes", `must be at least ${minimum} with ${given}`);
    }
    const spoolMinimum = spoolMinBytes(config.flushMaxRows) * workers;
    if (config.spoolMaxBytes !== 0 && config.spoolMaxBytes < spoolMinimum) {
      fault("spoolMaxBytes", `must be 0, or at least ${spoolMinimum} with ${given}`);
    }
    if (config.spoolDir === config.dataDir) {
      fault("spoolDir", "must differ from DATA_DIR; a folder in it will do");
    }
    if (config.port !== 0 && config.port === config.adminPort) {
      fault("adminPort", "must differ from PORT");
    }
  }, EVEN_IF_A_SETTING_IS_AT_FAULT);

/** What settings are when they are absent, if that follows from others. As text, under their names in code. */
const DERIVED_DEFAULTS: Readonly<Record<string, string>> = { spoolDir: "DATA_DIR/spool" };

const configSchema = settings.transform((config) => ({
  ...config,
  spoolDir: config.spoolDir ?? join(config.dataDir, "spool"),
}));

/** All that the environment decides. Times are in milliseconds, sizes in bytes, folders are absolute. */
export type Config = Readonly<z.output<typeof configSchema>>;

/** The name of a setting in the environment: `flushMaxRows` is FLUSH_MAX_ROWS. */
function environmentName(key: string): string {
  return key.replace(/[A-Z]/g, (letter) => `_${letter}`).toUpperCase();
}

/** The settings for people to read, in order. */
export const settingDocs: readonly SettingDoc[] = Object.entries(settings.shape).map(([key, schema]) => ({
  name: environmentName(key),
  default: "defaultValue" in schema.def ? String(schema.def.defaultValue) : (DERIVED_DEFAULTS[key] ?? ""),
  description: schema.description ?? "",
}));

/**
 * Reads the settings. An empty value counts as absent.
 *
 * @throws ConfigError that names each setting at fault
 */
export function loadConfig(environment: Readonly<Record<string, string | undefined>>): Config {
  const input = Object.fromEntries(
    Object.keys(settings.shape).map((key) => [key, environment[environmentName(key)] || undefined]),
  );
  const parsed = configSchema.safeParse(input);
  if (!parsed.success) {
    const faults = parsed.error.issues.map(
      ({ path, message }) => `  ${environmentName(path.join("."))}: ${message}`,
    );
    throw new ConfigError(`these settings cannot be used:\n${faults.join("\n")}`);
  }
  return Object.freeze(parsed.data);
}
