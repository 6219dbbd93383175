/** The tables of the page as CSV (RFC 4180), for spreadsheets and scripts; it touches no document. */
/** @import { Series, Top } from "./api.js" */

/** The plot's table: a line for each bucket. Times are UTC. @param {Series} series */
export function seriesCsv({ buckets, previous, previousTotal }) {
  const hasPrevious = previousTotal !== null;
  const head = ["start_time", "end_time", "count", "partial", "incomplete"];
  const lines = buckets.map(({ start, end, count, partial, incomplete }, i) => [
    isoTime(start),
    isoTime(end),
    count,
    partial,
    incomplete,
    ...(hasPrevious ? [isoTime(previous[i]?.start), previous[i]?.count ?? ""] : []),
  ]);
  return toCsv([hasPrevious ? [...head, "previous_start_time", "previous_count"] : head, ...lines]);
}

/** The list: a line for each entry. @param {Top} top */
export function topCsv({ entries, total, previousTotal }) {
  const hasPrevious = previousTotal !== null;
  const head = ["property", "section", "item", "label", "url", "count", "share"];
  const lines = entries.map(({ property, section, item, label, url, count, previous }) => [
    property,
    section ?? "",
    item ?? "",
    inert(label),
    inert(url),
    count,
    total === 0 ? "" : (count / total).toFixed(6),
    ...(hasPrevious ? [previous ?? 0] : []),
  ]);
  return toCsv([hasPrevious ? [...head, "previous_count"] : head, ...lines]);
}

/** @param {readonly (readonly (string | number | boolean)[])[]} lines */
const toCsv = (lines) => lines.map((cells) => `${cells.map(cell).join(",")}\r\n`).join("");

/** @param {string | number | boolean} value */
function cell(value) {
  const text = String(value);
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

/** A spreadsheet takes text that begins like this for a formula, unless an apostrophe stands before it. @param {string} text */
const inert = (text) => (/^[=+\-@\t\r]/.test(text) ? `'${text}` : text);

/** @param {number | undefined} at */
const isoTime = (at) => (at === undefined ? "" : new Date(at).toISOString().replace(".000Z", "Z"));
