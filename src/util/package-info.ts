/** Facts about this package that only its package.json holds, and where its files are. */
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";

// A subpath import (see "imports" in package.json) finds the root from src/ and from dist/src/ alike.
const packageJsonPath = createRequire(import.meta.url).resolve("#package.json");
const packageRoot = dirname(packageJsonPath);

/** The service's version, for example `1.2.3`. */
export const version = String(
  (JSON.parse(readFileSync(packageJsonPath, "utf8")) as { version: unknown }).version,
);

/** Folder with the SQL migrations. */
export const migrationsDirectory = join(packageRoot, "migrations");

/** Folder with the pages for browsers. */
export const webDirectory = join(packageRoot, "web");
