/** Puts the results of a run into words: tables for the terminal, which are Markdown as well. */
import { cpus } from "node:os";
import type { AllSeries, Figure, Series } from "./figures.js";
import type { Measurement } from "./measurement.js";
import { median } from "./statistics.js";

/** The machine, for example `2 × AMD EPYC, Linux x64, Node v20.20.2`. */
export function describeMachine(): string {
  const cores = cpus();
  const system = `${process.platform} ${process.arch}`;
  return `${cores.length} cores (${cores[0]?.model.trim()}), ${system}, Node ${process.version}`;
}

/** What was measured, with the spread over the rounds. */
export function seriesTable(allSeries: AllSeries): string {
  const rows = [...allSeries].map(([measurement, series]) => seriesRow(measurement, series));
  return table(["measurement", "median", "lowest", "highest", "unit", "p99"], rows);
}

function seriesRow({ name, unit }: Measurement, { values, p99Ms }: Series): string[] {
  const sound = values.filter((value) => value !== undefined);
  if (sound.length === 0 || sound.length < values.length) {
    return [name, "void", "", "", unit, ""];
  }
  const p99s = p99Ms.filter((value) => value !== undefined);
  const p99 = p99s.length === 0 ? "" : `${median(p99s).toFixed(1)} ms`;
  const numbers = [median(sound), Math.min(...sound), Math.max(...sound)];
  return [name, ...numbers.map((value) => Math.round(value).toLocaleString("en-US")), unit, p99];
}

/** The figures beside what they must reach. */
export function figureTable(figures: readonly Figure[]): string {
  const rows = figures.map(({ title, bound, aim, lessIsBetter, value, range, verdict }) => [
    title,
    `${lessIsBetter ? "≤" : "≥"} ${bound}`,
    String(aim),
    value === undefined ? "" : short(value),
    range === undefined ? "" : range.map(short).join(" – "),
    verdict,
  ]);
  return table(["figure", "must reach", "aim", "median", "rounds", "verdict"], rows);
}

function short(value: number): string {
  return value >= 20 ? value.toFixed(0) : value.toFixed(2);
}

/** Markdown whose columns also line up as plain text. */
export function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const widths = head.map((title, i) => Math.max(title.length, 3, ...rows.map((row) => row[i]?.length ?? 0)));
  const line = (cells: readonly string[]) =>
    `| ${cells.map((cell, i) => (i === 0 ? cell.padEnd(widths[i] ?? 0) : cell.padStart(widths[i] ?? 0))).join(" | ")} |`;
  const rule = widths.map((width, i) => (i === 0 ? "-".repeat(width) : `${"-".repeat(width - 1)}:`));
  return [line(head), line(rule), ...rows.map(line)].join("\n");
}
