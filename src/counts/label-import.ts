/** Reads names for properties, sections and items from CSV, and puts them into the table `labels`, all or none. */
import { CsvError, parse } from "csv-parse/sync";
import type { Pool } from "pg";
import { z } from "zod";
import { PROPERTY_MAX_BYTES } from "../event/tuple-codec.js";

/** The file is not usable; the message names the line. */
export class LabelFileError extends Error {
  override readonly name = "LabelFileError";
}

const REQUIRED_COLUMNS = ["property", "label"];
const COLUMNS = ["property", "section", "item", "label", "url"];
const LABEL_MAX_CHARACTERS = 200;
const URL_MAX_CHARACTERS = 2_000;
const UINT32_MAX = 2 ** 32 - 1;

/** Empty: the label is not for a single one. */
const number = z
  .string()
  .regex(/^\d{0,10}$/, "must be a whole number, or empty")
  .transform(Number)
  .refine((value) => value <= UINT32_MAX, `must be at most ${UINT32_MAX}`);

const rowSchema = z
  .object({
    property: z
      .string()
      .min(1, "is required")
      .max(PROPERTY_MAX_BYTES, `must have at most ${PROPERTY_MAX_BYTES} characters`)
      .refine((text) => !text.includes("\0"), "must have no NUL"),
    section: number.prefault(""),
    item: number.prefault(""),
    label: z
      .string()
      .min(1, "is required")
      .max(LABEL_MAX_CHARACTERS, `must have at most ${LABEL_MAX_CHARACTERS} characters`)
      .regex(/^[^\p{Cc}\p{Zl}\p{Zp}]*$/u, "must have no line breaks or control characters"),
    url: z
      .string()
      .max(URL_MAX_CHARACTERS, `must have at most ${URL_MAX_CHARACTERS} characters`)
      // The page makes links of them: javascript: must not be one.
      .refine((text) => text === "" || isHttpUrl(text), "must begin with http:// or https://")
      .prefault(""),
  })
  .refine(({ section, item }) => item === 0 || section > 0, {
    path: ["section"],
    error: "is required with item",
  });

/** A row of the table; `section` and `item` are 0 where the label is not for a single one. */
export type LabelRow = Readonly<z.output<typeof rowSchema>>;

function isHttpUrl(text: string): boolean {
  return URL.canParse(text) && /^https?:$/.test(new URL(text).protocol);
}

/**
 * Reads CSV (RFC 4180) whose first line names the columns property, section, item, label and url, in any order. Only
 * property and label must be there.
 *
 * @throws LabelFileError
 */
export function parseLabels(text: string): LabelRow[] {
  const records = parseCsv(text);
  const rows = records.map(({ record, info }) => {
    const parsed = rowSchema.safeParse(record);
    if (!parsed.success) {
      const [issue] = parsed.error.issues;
      throw new LabelFileError(`line ${info.lines}: ${issue?.path.join(".")} ${issue?.message}`);
    }
    return { row: parsed.data, line: info.lines };
  });
  const lines = new Map<string, number>();
  for (const { row, line } of rows) {
    const key = `${row.property}/${row.section}/${row.item}`;
    const first = lines.get(key);
    if (first !== undefined) {
      throw new LabelFileError(`line ${line}: names the same as line ${first}`);
    }
    lines.set(key, line);
  }
  return rows.map(({ row }) => row);
}

interface CsvRecord {
  readonly record: Readonly<Record<string, string>>;
  readonly info: { readonly lines: number };
}

function parseCsv(text: string): CsvRecord[] {
  try {
    return parse(text, {
      bom: true,
      columns: checkColumns,
      info: true,
      skip_empty_lines: true,
      trim: true,
    }) as unknown as CsvRecord[];
  } catch (error) {
    throw error instanceof CsvError ? new LabelFileError(error.message) : error;
  }
}

function checkColumns(header: readonly string[]): string[] {
  const unknown = header.find((name) => !COLUMNS.includes(name));
  const missing = REQUIRED_COLUMNS.find((name) => !header.includes(name));
  if (unknown !== undefined || missing !== undefined) {
    const fault =
      missing === undefined ? `has a column ${JSON.stringify(unknown)}` : `has no column ${missing}`;
    throw new LabelFileError(`line 1: ${fault}; the columns are ${COLUMNS.join(", ")}`);
  }
  return [...header];
}

/** Puts labels into the table, in place of those that were there for the same. Others stay. */
export async function writeLabels(client: Pool, rows: readonly LabelRow[]): Promise<void> {
  // One statement is one transaction.
  await client.query(
    `INSERT INTO labels (property, section, item, label, url)
     SELECT property, section, item, label, nullif(url, '')
     FROM unnest($1::text[], $2::bigint[], $3::bigint[], $4::text[], $5::text[]) AS rows (property, section, item, label, url)
     ON CONFLICT (property, section, item) DO UPDATE SET label = excluded.label, url = excluded.url`,
    [
      rows.map(({ property }) => property),
      rows.map(({ section }) => section),
      rows.map(({ item }) => item),
      rows.map(({ label }) => label),
      rows.map(({ url }) => url),
    ],
  );
}
