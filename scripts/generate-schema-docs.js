/**
 * Writes docs/schema/ from the catalog of a PostgreSQL to which all migrations were just applied; day partitions, which
 * the service makes as time goes on, are not in it.
 */
import { mkdir, readdir, rm, writeFile } from "node:fs/promises";
import { Client } from "pg";
import { pino } from "pino";
import { migrate } from "../dist/src/postgres/migrate.js";
import { migrationsDirectory } from "../dist/src/util/package-info.js";
import { createThrowawayPostgres } from "../test/support/throwaway-postgres.js";

const FOLDER = new URL("../docs/schema/", import.meta.url);
const WRITTEN_BY = "<!-- Written by npm run generate, from the migrations. -->";

const TABLES = `
  SELECT oid, relname AS name, coalesce(obj_description(oid), '') AS comment, pg_get_partkeydef(oid) AS "partitionKey"
  FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p') AND NOT relispartition
  ORDER BY relname`;

const COLUMNS = `
  SELECT attname AS name, format_type(atttypid, atttypmod) AS type, attnotnull AS required,
    coalesce(pg_get_expr(adbin, adrelid), '') AS default, coalesce(col_description(attrelid, attnum), '') AS comment
  FROM pg_attribute LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
  WHERE attrelid = $1 AND attnum > 0 AND NOT attisdropped ORDER BY attnum`;

// Without 'n': since PostgreSQL 18, NOT NULL has a constraint of its own.
const CONSTRAINTS = `
  SELECT conname AS name, pg_get_constraintdef(oid) AS definition
  FROM pg_constraint WHERE conrelid = $1 AND contype <> 'n' ORDER BY conname`;

const INDEXES = `
  SELECT relname AS name, pg_get_indexdef(indexrelid) AS definition
  FROM pg_index JOIN pg_class ON pg_class.oid = indexrelid WHERE indrelid = $1 ORDER BY relname`;

const PARTITIONS = `
  SELECT relname AS name, pg_get_expr(relpartbound, oid) AS bound, coalesce(obj_description(oid), '') AS comment
  FROM pg_inherits JOIN pg_class ON oid = inhrelid WHERE inhparent = $1 ORDER BY relname`;

const code = (text) => (text === "" ? "" : `\`${text}\``);
const cell = (text) => text.replaceAll("|", "\\|").replaceAll("\n", " ");

function tableOf(head, rows) {
  const lines = rows.map((cells) => `| ${cells.map(cell).join(" | ")} |`);
  return [`| ${head.join(" | ")} |`, `|${"---|".repeat(head.length)}`, ...lines].join("\n");
}

function section(title, head, rows) {
  return rows.length === 0 ? [] : [`## ${title}`, tableOf(head, rows)];
}

/** The page of one table. */
async function pageOf(client, { oid, name, comment, partitionKey }) {
  const rowsOf = async (query) => (await client.query(query, [oid])).rows;
  const definitions = (rows) => rows.map((row) => [code(row.name), code(row.definition)]);
  const columns = (await rowsOf(COLUMNS)).map((column) => [
    code(column.name),
    column.type,
    column.required ? "yes" : "",
    code(column.default),
    column.comment,
  ]);
  const partitions = (await rowsOf(PARTITIONS)).map((row) => [code(row.name), row.bound, row.comment]);
  if (partitionKey !== null) {
    partitions.push([
      code(`${name}_YYYYMMDD`),
      "the ids of that day (UTC)",
      "Made by the service, a week ahead. RETENTION_DAYS drops the old ones.",
    ]);
  }
  const partitionedBy = partitionKey === null ? [] : [`Partitioned by ${code(partitionKey)}.`];
  return [
    `# ${name}`,
    WRITTEN_BY,
    ...[comment].filter((text) => text !== ""),
    ...partitionedBy,
    ...section("Columns", ["name", "type", "required", "default", "meaning"], columns),
    ...section("Constraints", ["name", "definition"], definitions(await rowsOf(CONSTRAINTS))),
    ...section("Indexes", ["name", "definition"], definitions(await rowsOf(INDEXES))),
    ...section("Partitions", ["name", "rows", "meaning"], partitions),
  ].join("\n\n");
}

/** All pages by the names of their files. */
async function pagesOf(client) {
  const { rows: tables } = await client.query(TABLES);
  const pages = new Map();
  for (const table of tables) {
    pages.set(`${table.name}.md`, await pageOf(client, table));
  }
  const index = tables.map(({ name, comment }) => [`[${name}](${name}.md)`, comment]);
  pages.set("README.md", ["# Schema", WRITTEN_BY, tableOf(["table", "meaning"], index)].join("\n\n"));
  return pages;
}

async function readSchema(url) {
  await migrate({ url, directory: migrationsDirectory, logger: pino({ level: "error" }) });
  const client = new Client({ connectionString: url });
  await client.connect();
  try {
    return await pagesOf(client);
  } finally {
    await client.end();
  }
}

const postgres = await createThrowawayPostgres();
try {
  await postgres.start();
  const pages = await readSchema(postgres.url);
  await mkdir(FOLDER, { recursive: true });
  for (const name of await readdir(FOLDER)) {
    await rm(new URL(name, FOLDER));
  }
  for (const [name, page] of pages) {
    await writeFile(new URL(name, FOLDER), `${page}\n`);
  }
} finally {
  await postgres.close();
}
