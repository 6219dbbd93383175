/** What a chaos scenario is, and the table that they fill. */
import type { LedgerRow } from "./chaos-rig.js";

export interface Scenario {
  readonly fault: string;
  /** `short`: only with every test run; `full`: only in the full run; default: in both. */
  readonly only?: "short" | "full";
  /** How many acknowledged events may be lost, where no loss is not promised. Default: 0. */
  readonly lostMax?: number;
  /** Makes the fault, asserts that it struck, and returns the books; undefined where the machine does not allow it. */
  readonly run: () => Promise<LedgerRow | undefined>;
}

const COLUMNS = [
  "pushed",
  "acknowledged",
  "rows",
  "duplicates",
  "dead",
  "spooled",
  "replayed",
  "lost",
  "doubled",
  "miscounted",
] as const;

/** The table in Markdown. */
export function ledgerTable(rows: readonly LedgerRow[]): string {
  const width = Math.max(5, ...rows.map(({ fault }) => fault.length));
  const line = (cells: readonly string[]) => `| ${cells.join(" | ")} |`;
  return [
    line(["fault".padEnd(width), ...COLUMNS]),
    line(["-".repeat(width), ...COLUMNS.map((column) => `${"-".repeat(column.length - 1)}:`)]),
    ...rows.map((row) =>
      line([
        row.fault.padEnd(width),
        ...COLUMNS.map((column) => String(row[column]).padStart(column.length)),
      ]),
    ),
  ].join("\n");
}

/** Throws when `condition` is false: the scenario did not exercise what it is about. */
export function didHappen(condition: boolean, what: string): void {
  if (!condition) {
    throw new Error(`the scenario proves nothing: ${what} did not happen`);
  }
}
