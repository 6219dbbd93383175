/** Owns a PostgreSQL server for those who try the service without a DATABASE_URL; it never touches any other server. */
import { randomUUID } from "node:crypto";
import { rm } from "node:fs/promises";
import { createServer } from "node:net";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import type { Logger } from "pino";
import { type Binaries, findBinaries } from "./embedded/binaries.js";
import { type DataDir, ensureCluster, openDataDir } from "./embedded/cluster.js";
import { EmbeddedPostgresError, reasonOf } from "./embedded/error.js";
import { stopLeftOver } from "./embedded/left-over.js";
import { connectWhenReady, portUnusable } from "./embedded/readiness.js";
import { type ServerProcess, spawnServer } from "./embedded/server-process.js";

export { EmbeddedPostgresError } from "./embedded/error.js";

export interface EmbeddedPostgresOptions {
  /** DATA_DIR, absolute: holds the cluster (`postgres`), the server's log (`postgres.log`) and a lock. */
  readonly dataDir: string;
  /** EMBEDDED_POSTGRES_PORT, on 127.0.0.1. */
  readonly port: number;
  readonly logger: Logger;
  /** Further server settings by name, for example `{ fsync: "off" }` in tests. Default: none. */
  readonly settings?: Readonly<Record<string, string>>;
}

const DATABASE = "stats";

/** The URL of the embedded PostgreSQL that listens on `port`, whoever started it. */
export function embeddedUrl(port: number): string {
  return `postgres://postgres@127.0.0.1:${port}/${DATABASE}`;
}

/** Between a death of the server and its next start; doubled up to the last while it does not come up. */
const RESTART_FIRST_MS = 500;
const RESTART_LAST_MS = 30_000;

/**
 * A PostgreSQL of our own: made on the first run, kept between runs, started and stopped with the service.
 *
 * It runs outside our process group, so only `close()` stops it; what a killed run left behind is stopped by the next
 * `start()`. When it dies while we run it is started again, and clients meanwhile see refused connections.
 */
export class EmbeddedPostgres implements AsyncDisposable {
  readonly #options: EmbeddedPostgresOptions;
  readonly #closed = new AbortController();
  #dataDir: DataDir | undefined;
  #server: ServerProcess | undefined;
  #starting: Promise<void> | undefined;
  #supervision: Promise<void> | undefined;
  #closing: Promise<void> | undefined;

  constructor(options: EmbeddedPostgresOptions) {
    this.#options = options;
  }

  /** Known before `start()`. */
  get url(): string {
    return embeddedUrl(this.#options.port);
  }

  /**
   * Resolves when the server takes connections and the database exists.
   *
   * @throws {EmbeddedPostgresError} whose message is one line that names the setting to change; nothing is left running
   */
  start(): Promise<void> {
    this.#starting ??= this.#start();
    return this.#starting;
  }

  /** Stops the server (its sessions are ended), and gives the data directory free. */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async #start(): Promise<void> {
    const { port, logger } = this.#options;
    try {
      if (this.#closed.signal.aborted) {
        throw new EmbeddedPostgresError("embedded PostgreSQL is closed");
      }
      this.#dataDir = await openDataDir(this.#options.dataDir);
      const launch = await this.#prepare(this.#dataDir);
      await launch();
      this.#supervision = this.#keepRunning(launch);
    } catch (error) {
      await this.#release();
      if (error instanceof EmbeddedPostgresError) {
        throw error;
      }
      throw new EmbeddedPostgresError(
        `embedded PostgreSQL cannot be started in ${this.#options.dataDir} (${reasonOf(error)}): set DATA_DIR to another directory, or DATABASE_URL to use another server`,
        { cause: error },
      );
    }
    const psql = `psql -h 127.0.0.1 -p ${port} -U postgres ${DATABASE}`;
    logger.info({ psql }, `embedded PostgreSQL is ready; look inside with: ${psql}`);
  }

  /** All that is done once; what it returns starts the server, now and after each death. */
  async #prepare(dataDir: DataDir): Promise<() => Promise<void>> {
    const { port, logger } = this.#options;
    const binaries = await findBinaries(dataDir.path, dataDir.user);
    if (await stopLeftOver(dataDir.clusterDir, binaries)) {
      logger.warn("stopped the embedded PostgreSQL that an earlier run, which was killed, had left behind");
    }
    await checkPortIsFree(port);
    await ensureCluster(dataDir, binaries);
    const logPath = join(dataDir.path, "postgres.log");
    // A new log for each run bounds it; removed, not truncated, since another user may have made the old one.
    await rm(logPath, { force: true });
    return () => this.#launch(dataDir, binaries, logPath);
  }

  async #launch({ clusterDir, user }: DataDir, binaries: Binaries, logPath: string): Promise<void> {
    const { port, settings } = this.#options;
    const { signal } = this.#closed;
    if (signal.aborted) {
      throw new EmbeddedPostgresError("embedded PostgreSQL is closed");
    }
    const clusterName = randomUUID();
    const server = spawnServer({
      binaries,
      clusterDir,
      user,
      logPath,
      settings: {
        port: String(port),
        listen_addresses: "127.0.0.1",
        unix_socket_directories: "",
        cluster_name: clusterName,
        // Of a failed statement its client learns; such lines would let the log grow with the traffic.
        log_min_messages: "log",
        ...settings,
      },
    });
    this.#server = server;
    try {
      const client = await connectWhenReady({ port, clusterName, logPath, exited: server.exited, signal });
      try {
        const found = await client.query("SELECT FROM pg_database WHERE datname = $1", [DATABASE]);
        if (found.rowCount === 0) {
          await client.query(`CREATE DATABASE ${DATABASE}`);
        }
      } finally {
        await client.end();
      }
    } catch (error) {
      await server.stop();
      throw error;
    }
  }

  async #keepRunning(launch: () => Promise<void>): Promise<void> {
    const { logger } = this.#options;
    const { signal } = this.#closed;
    let pauseMs = RESTART_FIRST_MS;
    for (;;) {
      const how = await this.#server?.exited;
      if (signal.aborted) {
        return;
      }
      logger.error({ how, pauseMs }, "embedded PostgreSQL died (see postgres.log); starting it again");
      await delay(pauseMs, undefined, { signal }).catch(() => {});
      if (signal.aborted) {
        return;
      }
      try {
        await launch();
        pauseMs = RESTART_FIRST_MS;
        logger.info("embedded PostgreSQL is ready again");
      } catch (error) {
        pauseMs = Math.min(pauseMs * 2, RESTART_LAST_MS);
        logger.error({ err: error }, "embedded PostgreSQL did not come up again");
      }
    }
  }

  async #close(): Promise<void> {
    this.#closed.abort();
    // Whoever called start() is told that it failed.
    await this.#starting?.catch(() => {});
    await this.#release();
  }

  /** The server first: the lock is what keeps another service from taking it for a left-over. */
  async #release(): Promise<void> {
    await this.#server?.stop();
    await this.#supervision;
    await this.#dataDir?.lock.close();
  }
}

/** Asked before anything is made, so that the commonest fault is told at once. */
function checkPortIsFree(port: number): Promise<void> {
  return new Promise((resolve, reject) => {
    const probe = createServer();
    probe.once("error", (error) => reject(portUnusable(port, error)));
    probe.listen({ host: "127.0.0.1", port, exclusive: true }, () => probe.close(() => resolve()));
  });
}
