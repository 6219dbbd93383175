/** The PostgreSQL that a benchmark writes to: DATABASE_URL's, or an embedded one with its default durability. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { chmod, mkdtemp, rm } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Pool } from "pg";
import type { Logger } from "pino";
import { EmbeddedPostgres } from "../../src/postgres/embedded.js";
import { migrate } from "../../src/postgres/migrate.js";
import { createPartitions } from "../../src/postgres/partitions.js";
import { closePool, createPool } from "../../src/postgres/pool.js";
import { migrationsDirectory } from "../../src/util/package-info.js";

/** A migrated database. */
export interface BenchDatabase {
  readonly url: string;
  readonly pool: Pool;
  /** For the table of results, for example `PostgreSQL 18.4`. */
  readonly version: string;
  close(): Promise<void>;
}

/** Opens the database; `incoming` is emptied by the benchmarks, so DATABASE_URL must name one to spare. */
export async function openBenchDatabase(logger: Logger): Promise<BenchDatabase> {
  const given = process.env.BENCH_DATABASE_URL;
  const embedded = given === undefined ? await startEmbedded(logger) : undefined;
  const url = given ?? (embedded as { url: string }).url;
  await migrate({ url, directory: migrationsDirectory, logger });
  const pool = createPool({ url, logger });
  await createPartitions(pool, Date.now(), { daysBehind: 1, daysAhead: 1 });
  const { rows } = await pool.query<{ server_version: string }>("SHOW server_version");
  return {
    url,
    pool,
    version: `PostgreSQL ${rows[0]?.server_version}`,
    close: async () => {
      await closePool(pool);
      await embedded?.close();
    },
  };
}

async function startEmbedded(logger: Logger): Promise<{ url: string; close(): Promise<void> }> {
  const dataDir = await mkdtemp(join(tmpdir(), "stats-bench-"));
  // For PostgreSQL, which runs as another user when we are root.
  await chmod(dataDir, 0o755);
  const postgres = new EmbeddedPostgres({ dataDir, port: await freePort(), logger });
  await postgres.start();
  return {
    url: postgres.url,
    close: async () => {
      await postgres.close();
      await rm(dataDir, { recursive: true, force: true });
    },
  };
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  server.close();
  await once(server, "close");
  return typeof address === "object" && address !== null ? address.port : 0;
}

/** Runs psql with one command and resolves when it has succeeded. */
export async function runPsql(url: string, command: string): Promise<void> {
  const psql = spawn("psql", ["--no-psqlrc", "--quiet", "-v", "ON_ERROR_STOP=1", "-d", url, "-c", command], {
    stdio: ["ignore", "ignore", "inherit"],
  });
  const [status] = (await once(psql, "exit").catch((cause: unknown) => {
    throw new Error("psql could not be started: install PostgreSQL's client (Debian: postgresql-client)", {
      cause,
    });
  })) as [number | null];
  if (status !== 0) {
    throw new Error(`psql ended with status ${status}`);
  }
}
