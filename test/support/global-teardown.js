/** Owns the end of the PostgreSQL that all tests share. */
import { stop } from "./global-setup.js";

// biome-ignore lint/style/noDefaultExport: jest calls the default export
export default async function globalTeardown() {
  await stop();
}
