/** Databases that tests copy, so that each need not be migrated. */
// Plain JavaScript on the built code: jest's global set-up runs it as it is.
import { execFile } from "node:child_process";
import { randomBytes } from "node:crypto";
import { join } from "node:path";
import { promisify } from "node:util";
import pg from "pg";
import { pino } from "pino";
import { migrate } from "../../dist/src/postgres/migrate.js";
import { migrationsDirectory } from "../../dist/src/util/package-info.js";

const MAIN = join(import.meta.dirname, "../../dist/src/main.js");

/**
 * Makes them on `server`: `migrated` has the schema, and all events go to the default partition; `partitioned` has the
 * partitions of these days, too, and a service that starts on it finds nothing to make.
 */
export async function createTemplates(server) {
  const suffix = randomBytes(8).toString("hex");
  const names = { migrated: `test_migrated_${suffix}`, partitioned: `test_partitioned_${suffix}` };
  const urlOf = (name) => Object.assign(new URL(server), { pathname: `/${name}` }).href;
  await runOn(server, `CREATE DATABASE ${names.migrated}`);
  const logger = pino({ level: "silent" });
  await migrate({ url: urlOf(names.migrated), directory: migrationsDirectory, logger });
  await runOn(server, `CREATE DATABASE ${names.partitioned} TEMPLATE ${names.migrated}`);
  const env = { PATH: process.env.PATH, DATABASE_URL: urlOf(names.partitioned) };
  await promisify(execFile)(process.execPath, [MAIN, "migrate"], { env });
  const drops = Object.values(names).map((name) => `DROP DATABASE IF EXISTS ${name}`);
  return { names, drop: () => runOn(server, ...drops) };
}

async function runOn(server, ...statements) {
  const client = new pg.Client({ connectionString: server });
  await client.connect();
  try {
    for (const statement of statements) {
      await client.query(statement);
    }
  } finally {
    await client.end();
  }
}
