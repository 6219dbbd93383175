/** Owns PostgreSQL servers that live in a temporary folder; it never touches any other. */
// Plain JavaScript on the built code: jest's global set-up and npm run generate run it as it is.
import { chmod, mkdtemp, rm } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pino } from "pino";

/**
 * An embedded PostgreSQL on a free port. After `start()` it is there until `close()`, which leaves nothing behind; call
 * that even when `start()` failed. `settings` are the server's.
 */
export async function createThrowawayPostgres(settings) {
  const { EmbeddedPostgres } = await import("../../dist/src/postgres/embedded.js").catch((cause) => {
    throw new Error("PostgreSQL is started with the built code: npm run build", { cause });
  });
  const dataDir = await mkdtemp(join(tmpdir(), "stats-test-"));
  // For PostgreSQL, which runs as another user when we are root.
  await chmod(dataDir, 0o755);
  const postgres = new EmbeddedPostgres({
    dataDir,
    port: await freePort(),
    logger: pino({ level: "error" }),
    settings: { fsync: "off", full_page_writes: "off", ...settings },
  });
  return {
    url: postgres.url,
    start: () => postgres.start(),
    close: async () => {
      await postgres.close();
      await rm(dataDir, { recursive: true, force: true });
    },
  };
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
