/** Owns the PostgreSQL that all tests share; it never starts one when TEST_DATABASE_URL names a server. */
// Plain JavaScript on the built code: jest does not put what it runs outside the tests through our transform.
import { chmod, mkdtemp, rm } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pino } from "pino";

/** Undoes what the set-up did; for the tear-down, which jest runs in the same process. */
export let stop = async () => {};

// biome-ignore lint/style/noDefaultExport: jest calls the default export
export default async function globalSetup() {
  if (process.env.TEST_DATABASE_URL) return;
  const { EmbeddedPostgres } = await import("../../dist/src/postgres/embedded.js").catch((cause) => {
    throw new Error("tests start PostgreSQL with the built code: npm run build", { cause });
  });
  const dataDir = await mkdtemp(join(tmpdir(), "stats-test-"));
  // For PostgreSQL, which runs as another user when we are root.
  await chmod(dataDir, 0o755);
  const postgres = new EmbeddedPostgres({
    dataDir,
    port: await freePort(),
    logger: pino({ level: "error" }),
    settings: { fsync: "off", full_page_writes: "off", max_connections: "200" },
  });
  stop = async () => {
    await postgres.close();
    await rm(dataDir, { recursive: true, force: true });
  };
  // Jest skips the tear-down when it is interrupted, and the server would outlive it.
  for (const signal of ["SIGINT", "SIGTERM"]) {
    process.once(signal, () => void stop().finally(() => process.exit(1)));
  }
  try {
    await postgres.start();
  } catch (error) {
    await stop();
    throw error;
  }
  process.env.TEST_DATABASE_URL = postgres.url;
}

function freePort() {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once("error", reject);
    server.listen(0, "127.0.0.1", () => {
      const { port } = server.address();
      server.close(() => resolve(port));
    });
  });
}
