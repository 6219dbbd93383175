/** What commands say on standard output and standard error; the log is none of its business. */

/** Prints each line. */
export function print(lines: readonly string[]): void {
  process.stdout.write(lines.map((line) => `${line}\n`).join(""));
}

/** Says on standard error, in one line, what went wrong. */
export function complain(message: string): void {
  process.stderr.write(`stats-service: ${message}\n`);
}

const UNITS = ["B", "KiB", "MiB", "GiB", "TiB"] as const;

/** A size for people: `1.5 GiB`. */
export function formatBytes(bytes: number): string {
  const power = Math.min(UNITS.length - 1, Math.floor(Math.log2(Math.max(1, bytes)) / 10));
  const value = bytes / 1024 ** power;
  return `${power === 0 || value >= 100 ? Math.round(value) : value.toFixed(1)} ${UNITS[power]}`;
}

/** A whole number for people: `1,234,567`. */
export function formatCount(count: number): string {
  return Math.round(count).toLocaleString("en-US");
}
