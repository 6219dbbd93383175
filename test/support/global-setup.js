/** Owns the PostgreSQL that all tests share; it never starts one when TEST_DATABASE_URL names a server. */
// Plain JavaScript on the built code: jest does not put what it runs outside the tests through our transform.
import { createThrowawayPostgres } from "./throwaway-postgres.js";

/** Undoes what the set-up did; for the tear-down, which jest runs in the same process. */
export let stop = async () => {};

// biome-ignore lint/style/noDefaultExport: jest calls the default export
export default async function globalSetup() {
  if (process.env.TEST_DATABASE_URL) {
    return;
  }
  const postgres = await createThrowawayPostgres({ max_connections: "200" });
  stop = () => postgres.close();
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
