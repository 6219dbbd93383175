import { availableParallelism } from "node:os";
import { resolve } from "node:path";
import { spoolMinBytes } from "../../src/buffer/spool/spool.js";
import { readSettings } from "../../src/config/command-settings.js";
import { ConfigError, loadConfig, settingDocs } from "../../src/config.js";
import { queueMinBytes } from "../../src/ingest/event-queue.js";

/** The lines of the message that a ConfigError has for these settings, the first aside. */
function faultsOf(environment: Record<string, string>): string[] {
  try {
    loadConfig(environment);
    return [];
  } catch (error) {
    if (!(error instanceof ConfigError)) {
      throw error;
    }
    const [first, ...faults] = error.message.split("\n");
    expect(first).toBe("these settings cannot be used:");
    return faults.map((line) => line.trim());
  }
}

/** The names of the settings at fault. */
function namesOf(environment: Record<string, string>): string[] {
  return faultsOf(environment).map((line) => line.slice(0, line.indexOf(":")));
}

describe("loadConfig", () => {
  it("needs no setting", () => {
    expect(loadConfig({})).toMatchObject({
      host: "127.0.0.1",
      port: 3000,
      adminPort: 3001,
      workers: 1,
      databaseUrl: undefined,
      dataDir: resolve(".data"),
      embeddedPostgresPort: 54_329,
      flushIntervalMs: 1000,
      flushMaxRows: 10_000,
      queueMaxBytes: 64 * 1024 * 1024,
      shutdownTimeoutMs: 25_000,
      lameDuckMs: 0,
      properties: undefined,
      logLevel: "info",
    });
  });

  it("reads each setting under its name in the environment", () => {
    const environment = {
      HOST: "::",
      PORT: "80",
      ADMIN_PORT: "81",
      DATABASE_URL: "postgresql://stats:secret@db:5432/stats?sslmode=require",
      DATA_DIR: "/var/lib/stats",
      EMBEDDED_POSTGRES_PORT: "5433",
      FLUSH_INTERVAL_MS: "250",
      FLUSH_MAX_ROWS: "500",
      QUEUE_MAX_BYTES: "1000000",
      SHUTDOWN_TIMEOUT_MS: "10000",
      LAME_DUCK_MS: "5000",
      PROPERTIES: "news, shop,blog",
      LOG_LEVEL: "debug",
    };
    expect(loadConfig(environment)).toMatchObject({
      host: "::",
      port: 80,
      adminPort: 81,
      databaseUrl: environment.DATABASE_URL,
      dataDir: "/var/lib/stats",
      embeddedPostgresPort: 5433,
      flushIntervalMs: 250,
      flushMaxRows: 500,
      queueMaxBytes: 1_000_000,
      shutdownTimeoutMs: 10_000,
      lameDuckMs: 5000,
      properties: new Set(["news", "shop", "blog"]),
      logLevel: "debug",
    });
  });

  it("takes an empty value for an absent one", () => {
    const empty = Object.fromEntries(settingDocs.map(({ name }) => [name, ""]));
    expect(loadConfig(empty)).toEqual(loadConfig({}));
  });

  it("takes no notice of what is no setting", () => {
    expect(loadConfig({ PATH: "/bin", port: "9" })).toEqual(loadConfig({}));
  });

  it("cannot be changed", () => {
    expect(Object.isFrozen(loadConfig({}))).toBe(true);
  });

  it.each([
    ["PORT", "0", "65535"],
    ["ADMIN_PORT", "0", "65535"],
    ["EMBEDDED_POSTGRES_PORT", "1", "65535"],
    ["FLUSH_INTERVAL_MS", "10", "60000"],
    ["FLUSH_MAX_ROWS", "100", "100000"],
    ["REQUEST_MAX_BYTES", "1024", "16777216"],
    ["REQUEST_TIMEOUT_MS", "10000", "3600000"],
    ["KEEP_ALIVE_TIMEOUT_MS", "1000", "3600000"],
    ["MAX_CONNECTIONS", "1", "1000000"],
    ["MAX_CONNECTION_AGE_MS", "0", "86400000"],
    ["SHUTDOWN_TIMEOUT_MS", "0", "3600000"],
    ["LAME_DUCK_MS", "0", "3600000"],
    ["RETENTION_DAYS", "8", "36500"],
  ])("takes whole numbers for %s, from %s to %s", (name, min, max) => {
    const fault = `${name}: must be a whole number from ${min} to ${max}`;
    for (const value of [min, max]) {
      expect(faultsOf({ [name]: value })).toEqual([]);
    }
    for (const value of [
      `${Number(min) - 1}`,
      `${Number(max) + 1}`,
      "1.5",
      "1e3",
      "0x10",
      " 7",
      "many",
      "∞",
    ]) {
      expect(faultsOf({ [name]: value })).toEqual([fault]);
    }
  });

  it("asks for a queue that has room for a batch in flight and one that fills", () => {
    for (const rows of [100, 500, 100_000]) {
      const minimum = queueMinBytes(rows);
      const settings = (bytes: number) => ({ FLUSH_MAX_ROWS: `${rows}`, QUEUE_MAX_BYTES: `${bytes}` });
      expect(faultsOf(settings(minimum))).toEqual([]);
      expect(faultsOf(settings(minimum - 1))).toEqual([
        `QUEUE_MAX_BYTES: must be at least ${minimum} with this FLUSH_MAX_ROWS`,
      ]);
    }
  });

  it("asks for a certificate with its key, and for both with a client CA", () => {
    const [cert, key, ca] = [{ TLS_CERT_FILE: "c" }, { TLS_KEY_FILE: "k" }, { TLS_CLIENT_CA_FILE: "a" }];
    expect(faultsOf({ ...cert, ...key, ...ca })).toEqual([]);
    expect(faultsOf(cert)).toEqual(["TLS_KEY_FILE: is needed with TLS_CERT_FILE"]);
    expect(faultsOf(key)).toEqual(["TLS_CERT_FILE: is needed with TLS_KEY_FILE"]);
    expect(faultsOf(ca)).toEqual(["TLS_CLIENT_CA_FILE: needs TLS_CERT_FILE and TLS_KEY_FILE"]);
  });

  it.each(["loopback", "10.0.0.0/8, ::1,uniquelocal"])("takes %j for TRUST_PROXY", (ranges) => {
    expect(loadConfig({ TRUST_PROXY: ranges }).trustProxy).toEqual(ranges.split(/, ?/));
  });

  it.each(["all", "0.0.0.0/0", "10.0.0.0/8,", "10.0.0.0/33", "proxy.example.com"])(
    "refuses %j for TRUST_PROXY",
    (ranges) => {
      expect(namesOf({ TRUST_PROXY: ranges })).toEqual(["TRUST_PROXY"]);
    },
  );

  it.each(["*", "https://example.com,http://localhost:8080", "http://[::1]:8081, capacitor://localhost"])(
    "takes %j for CORS_ORIGINS",
    (origins) => {
      expect(loadConfig({ CORS_ORIGINS: origins }).corsOrigins).toEqual(origins.split(/, ?/));
    },
  );

  it.each([
    "https://example.com/",
    "example.com",
    "https://Example.com",
    "https://a:443",
    "null",
    "https://*",
  ])("refuses %j for CORS_ORIGINS, which no browser sends", (origins) => {
    expect(namesOf({ CORS_ORIGINS: origins })).toEqual(["CORS_ORIGINS"]);
  });

  it("takes a number of workers, or auto for one on each core", () => {
    expect(loadConfig({ WORKERS: "4" }).workers).toBe(4);
    expect(loadConfig({ WORKERS: "auto" }).workers).toBe(availableParallelism());
    for (const value of ["0", "257", "999", "-1", "1.5", "many", "AUTO"]) {
      expect(faultsOf({ WORKERS: value })).toEqual([
        "WORKERS: must be a whole number from 1 to 256, or auto",
      ]);
    }
  });

  it("asks for room for each worker, since the bounds are for all of them together", () => {
    const queue = queueMinBytes(10_000) * 4;
    const spool = spoolMinBytes(10_000) * 4;
    const settings = (queueBytes: number, spoolBytes: number) => ({
      WORKERS: "4",
      QUEUE_MAX_BYTES: `${queueBytes}`,
      SPOOL_MAX_BYTES: `${spoolBytes}`,
    });
    expect(faultsOf(settings(queue, spool))).toEqual([]);
    expect(faultsOf(settings(queue - 1, spool - 1))).toEqual([
      `QUEUE_MAX_BYTES: must be at least ${queue} with this FLUSH_MAX_ROWS and 4 WORKERS`,
      `SPOOL_MAX_BYTES: must be 0, or at least ${spool} with this FLUSH_MAX_ROWS and 4 WORKERS`,
    ]);
  });

  it("asks for two different ports, unless the system chooses them", () => {
    expect(faultsOf({ PORT: "8080", ADMIN_PORT: "8080" })).toEqual(["ADMIN_PORT: must differ from PORT"]);
    expect(faultsOf({ PORT: "0", ADMIN_PORT: "0" })).toEqual([]);
  });

  it.each(["mysql://db/stats", "localhost:5432", "stats", "/var/run/postgresql"])(
    "refuses %j for DATABASE_URL",
    (url) => {
      expect(faultsOf({ DATABASE_URL: url })).toEqual([
        "DATABASE_URL: must be a URL such as postgres://user:password@host:5432/database",
      ]);
    },
  );

  it.each(["postgres://stats:100%@db/stats", "postgres://stats:p%ZZ@db/stats", "postgres://stats@db/%ff"])(
    "refuses %j for DATABASE_URL, which cannot be decoded",
    (url) => {
      expect(faultsOf({ DATABASE_URL: url })).toEqual([
        expect.stringMatching(
          /^DATABASE_URL: has a % in the .* that is followed by no code: write it as %25$/,
        ),
      ]);
    },
  );

  it("takes a DATABASE_URL with encoded characters, and one that names a socket", () => {
    const url = "postgres://stats:100%25%2F@%2Fvar%2Frun/stats?application_name=a%20b";
    expect(faultsOf({ DATABASE_URL: url })).toEqual([]);
  });

  it("does not repeat the value of a setting at fault, which may be a secret", () => {
    expect(faultsOf({ DATABASE_URL: "mysql://stats:hunter2@db" }).join()).not.toContain("hunter2");
    expect(faultsOf({ DATABASE_URL: "postgres://stats:hunter2%@db" }).join()).not.toContain("hunter2");
  });

  it("names every fault at once", () => {
    expect(
      namesOf({
        PORT: "http",
        DATABASE_URL: "db",
        FLUSH_INTERVAL_MS: "0",
        SHUTDOWN_TIMEOUT_MS: "-1",
        LOG_LEVEL: "loud",
      }),
    ).toEqual(["PORT", "DATABASE_URL", "FLUSH_INTERVAL_MS", "SHUTDOWN_TIMEOUT_MS", "LOG_LEVEL"]);
  });

  it("names at once too what is wrong between settings", () => {
    const names = namesOf({ PORT: "8080", ADMIN_PORT: "8080", QUEUE_MAX_BYTES: "1", LOG_LEVEL: "loud" });
    expect(new Set(names)).toEqual(new Set(["ADMIN_PORT", "QUEUE_MAX_BYTES", "LOG_LEVEL"]));
  });

  it("judges no setting by another that is at fault itself", () => {
    for (const value of ["many", "-1", "0", "1000000", "1.5"]) {
      expect(namesOf({ FLUSH_MAX_ROWS: value })).toEqual(["FLUSH_MAX_ROWS"]);
      expect(namesOf({ QUEUE_MAX_BYTES: "many", FLUSH_MAX_ROWS: value })).toEqual([
        "FLUSH_MAX_ROWS",
        "QUEUE_MAX_BYTES",
      ]);
    }
    expect(namesOf({ PORT: "3001x", ADMIN_PORT: "3001" })).toEqual(["PORT"]);
  });
});

describe("readSettings", () => {
  it("reads the named settings, and looks at no other", () => {
    expect(
      readSettings(["adminPort", "host"], { ADMIN_PORT: "81", PORT: "http", RETENTION_DAYS: "x" }),
    ).toEqual({
      adminPort: 81,
      host: "127.0.0.1",
    });
  });

  it("names each of them that is at fault", () => {
    const read = () =>
      readSettings(["adminPort", "statsUrl"], { ADMIN_PORT: "x", STATS_URL: "localhost:3000" });
    expect(read).toThrow(ConfigError);
    expect(read).toThrow(/ADMIN_PORT: .*\n.*STATS_URL: must be a URL/);
  });

  it("does not judge ports of a service by each other", () => {
    expect(readSettings(["port", "adminPort"], { PORT: "80", ADMIN_PORT: "80" })).toEqual({
      port: 80,
      adminPort: 80,
    });
  });
});

describe("settingDocs", () => {
  it("describes each setting in a sentence", () => {
    for (const { name, description } of settingDocs) {
      expect(name).toMatch(/^[A-Z][A-Z_]*[A-Z]$/);
      expect(description).toMatch(/^[A-Z].*\.$/);
    }
  });

  it("tells of each setting what it looks like, and where it belongs", () => {
    for (const { name, format, group } of settingDocs) {
      expect([name, format, group]).toEqual([
        name,
        expect.stringMatching(/./),
        expect.stringMatching(/^[A-Z]/),
      ]);
    }
    expect(settingDocs.find(({ name }) => name === "FLUSH_MAX_ROWS")).toMatchObject({
      format: "whole number, 100 to 100000",
      group: "Queue and flush",
    });
  });

  it("tells the defaults truly", () => {
    const defaults = Object.fromEntries(settingDocs.map((doc) => [doc.name, doc.default]));
    expect(defaults).toMatchObject({ HOST: "127.0.0.1", PORT: "3000", DATA_DIR: ".data", DATABASE_URL: "" });
    const { spoolDir: _, adminHost: __, ...plain } = loadConfig({});
    const { SPOOL_DIR: ___, STATS_URL: ____, ADMIN_HOST: _____, ...plainDefaults } = defaults;
    expect(loadConfig(plainDefaults)).toMatchObject(plain);
  });

  it("leaves no setting out", () => {
    const names = Object.keys(loadConfig({})).map((key) => key.replace(/[A-Z]/g, "_$&").toUpperCase());
    expect(new Set(settingDocs.map(({ name }) => name))).toEqual(
      new Set([
        ...names,
        "DATABASE_URL",
        "PROPERTIES",
        "RETENTION_DAYS",
        "TRUST_PROXY",
        "CORS_ORIGINS",
        "AUTH_TOKENS_FILE",
        "TLS_CERT_FILE",
        "TLS_KEY_FILE",
        "TLS_CLIENT_CA_FILE",
        "STATS_URL",
        "STATS_TOKEN",
      ]),
    );
  });
});
