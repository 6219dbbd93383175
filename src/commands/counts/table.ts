/** How counts look on a terminal and in files; it asks nothing. */
import { timestampMs } from "@bufbuild/protobuf/wkt";
import type { Coverage } from "../../../gen/stats/v1/counts_pb.js";
import type { TimeZone } from "../../counts/time-zone.js";
import { formatCount } from "../print.js";

const MINUTE_MS = 60_000;
const WIDTH_DEFAULT = 80;
const BAR_MIN = 5;
/** From an eighth of a character to a whole one. */
const BLOCKS = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"];
const FULL_BLOCK = "█";

/** `minute`: `2026-11-28 14:00`; `day`: `2026-11-28`; `offset`: ISO 8601 with the offset of the zone. */
export function formatTime(instant: number, zone: TimeZone, precision: "minute" | "day" | "offset"): string {
  const wall = new Date(zone.wallAt(instant)).toISOString();
  switch (precision) {
    case "day":
      return wall.slice(0, 10);
    case "minute":
      return wall.slice(0, 16).replace("T", " ");
    case "offset": {
      const minutes = zone.offsetAt(instant) / MINUTE_MS;
      const [hours, rest] = [Math.floor(Math.abs(minutes) / 60), Math.abs(minutes) % 60];
      const offset = `${minutes < 0 ? "-" : "+"}${twoDigits(hours)}:${twoDigits(rest)}`;
      return `${wall.slice(0, 19)}${minutes === 0 ? "Z" : offset}`;
    }
  }
}

function twoDigits(value: number): string {
  return String(value).padStart(2, "0");
}

export interface TableRow {
  readonly cells: readonly string[];
  /** As long as its bar is. */
  readonly value: number;
  /** Behind the bar. */
  readonly note: string;
}

/** The first column to the left, numbers to the right; on a terminal with a bar for each row, as long as there is room. */
export function toTable(
  header: readonly string[],
  rows: readonly TableRow[],
  { isTTY = false, columns = WIDTH_DEFAULT }: { readonly isTTY?: boolean; readonly columns?: number },
): string[] {
  const widths = header.map((title, column) =>
    Math.max(title.length, ...rows.map(({ cells }) => cells[column]?.length ?? 0)),
  );
  const layOut = (cells: readonly string[]) =>
    cells
      .map((cell, column) =>
        column === 0 ? cell.padEnd(widths[column] ?? 0) : cell.padStart(widths[column] ?? 0),
      )
      .join("  ");
  const max = Math.max(1, ...rows.map(({ value }) => value));
  const noteWidth = Math.max(0, ...rows.map(({ note }) => note.length));
  const used = widths.reduce((sum, width) => sum + width + 2, 0) + noteWidth + 2;
  const barWidth = isTTY ? Math.max(BAR_MIN, columns - used) : 0;
  return [
    layOut(header),
    ...rows.map(({ cells, value, note }) =>
      `${layOut(cells)}  ${[drawBar((value / max) * barWidth), note].filter((part) => part !== "").join("  ")}`.trimEnd(),
    ),
  ];
}

function drawBar(length: number): string {
  const eighths = Math.round(length * BLOCKS.length);
  const full = Math.floor(eighths / BLOCKS.length);
  return `${FULL_BLOCK.repeat(full)}${BLOCKS[eighths % BLOCKS.length] ?? ""}`;
}

/** `total 1,234; before 1,000 (+23.4 %)`. */
export function formatTotal(total: bigint, previous: bigint | undefined): string {
  const text = `total ${formatCount(Number(total))}`;
  return previous === undefined
    ? text
    : `${text}; before ${formatCount(Number(previous))} (${formatChange(total, previous)})`;
}

/** `12.3 %`. */
export function formatShare(count: bigint, total: bigint): string {
  return total === 0n ? "-" : `${((Number(count) / Number(total)) * 100).toFixed(1)} %`;
}

/** `+12.3 %`; `new` for what was not there before. */
export function formatChange(count: bigint, previous: bigint | undefined): string {
  if (previous === undefined || previous === 0n) {
    return previous === undefined || count === 0n ? "-" : "new";
  }
  const percent = (Number(count - previous) / Number(previous)) * 100;
  return `${percent >= 0 ? "+" : ""}${percent.toFixed(1)} %`;
}

/** What was counted, and how sure it is, in a line or two. */
export function describeCoverage(coverage: Coverage | undefined, zone: TimeZone): string[] {
  const { startTime, endTime, freshTime, incomplete } = coverage ?? {};
  if (startTime === undefined || endTime === undefined || freshTime === undefined) {
    return [];
  }
  const [from, to] = [startTime, endTime].map((time) => formatTime(timestampMs(time), zone, "minute"));
  const fresh = formatTime(timestampMs(freshTime), zone, "offset");
  return [
    `counted from ${from} to ${to} (${zone.name}); everything committed before ${fresh} is in`,
    ...(incomplete === true
      ? [
          "some events of this range were removed before they were counted, or are not counted yet: at least these",
        ]
      : []),
  ];
}

/** Lines as in RFC 4180, but that each ends with a line feed alone. */
export function toCsv(rows: readonly (readonly unknown[])[]): string[] {
  return rows.map((cells) => cells.map(csvCell).join(","));
}

function csvCell(value: unknown): string {
  const text = String(value);
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}
