/** The PostgreSQL that all tests share, its template databases, and the folder that holds it and their temporary files. */
// Plain JavaScript on the built code: jest does not put what it runs outside the tests through our transform.
import { createTemplates } from "./template-databases.js";
import { makeTemporaryFolder } from "./temporary-folder.js";
import { createThrowawayPostgres } from "./throwaway-postgres.js";

const releasers = [];

/** Undoes what the set-up did, the last thing first; for the tear-down, which jest runs in the same process. */
export async function stop() {
  for (let release = releasers.pop(); release !== undefined; release = releasers.pop()) {
    await release();
  }
}

// biome-ignore lint/style/noDefaultExport: jest calls the default export
export default async function globalSetup() {
  // Jest skips the tear-down when it is interrupted, and the server would outlive it.
  for (const signal of ["SIGINT", "SIGTERM"]) {
    process.once(signal, () => void stop().finally(() => process.exit(1)));
  }
  try {
    await setUp();
  } catch (error) {
    await stop();
    throw error;
  }
}

async function setUp() {
  const folder = await makeTemporaryFolder();
  releasers.push(() => folder.remove());
  // Workers inherit it, so os.tmpdir() is this folder in every test.
  process.env.TMPDIR = folder.path;
  if (!process.env.TEST_DATABASE_URL) {
    const postgres = await createThrowawayPostgres({ max_connections: "200", autovacuum: "off" });
    releasers.push(() => postgres.close());
    await postgres.start();
    process.env.TEST_DATABASE_URL = postgres.url;
  }
  const templates = await createTemplates(process.env.TEST_DATABASE_URL);
  releasers.push(() => templates.drop());
  process.env.TEST_TEMPLATES = JSON.stringify(templates.names);
}
