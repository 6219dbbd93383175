/** What an attack is, how large it is, and the table that attacks fill. */

/** `npm run test:attack` runs the attacks in full; `npm test` runs them at a fraction of their size. */
export const isFull = process.env.ATTACK === "full";

/** How much of something an attack uses. */
export function amount(short: number, full: number): number {
  return isFull ? full : short;
}

export interface Attack {
  readonly name: string;
  /** Run in full only: what holds it off is Node's, or shown by another attack, too. Default: false. */
  readonly onlyInFull?: boolean;
  /** What is done, with numbers. */
  readonly tried: string;
  /** Does it, asserts that it went as meant, leaves, and tells what the service did. */
  readonly run: (port: number) => Promise<string>;
}

/** A line of the table. */
export interface AttackRow {
  readonly attack: string;
  readonly tried: string;
  readonly did: string;
  /** Pushes of the others meanwhile, all of which were answered OK. */
  readonly pushes: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  /** Resident memory in MiB before, at most during, and after the attack; undefined where the system does not tell it. */
  readonly rssMib: readonly [before: number, most: number, after: number] | undefined;
}

const HEADINGS = ["attack", "tried", "what the service did", "others' pushes", "p50 ms", "p99 ms", "RSS MiB"];

/** The table in Markdown. */
export function attackTable(rows: readonly AttackRow[]): string {
  const line = (cells: readonly string[]) => `| ${cells.join(" | ")} |`;
  return [
    line(HEADINGS),
    line(HEADINGS.map((_, n) => (n < 3 ? "---" : "---:"))),
    ...rows.map(({ attack, tried, did, pushes, p50Ms, p99Ms, rssMib }) =>
      line([
        attack,
        tried,
        did,
        String(pushes),
        p50Ms.toFixed(1),
        p99Ms.toFixed(1),
        rssMib === undefined ? "" : rssMib.join(" → "),
      ]),
    ),
  ].join("\n");
}

/** Throws when `condition` is false: the attack did not do what it is about. */
export function didHappen(condition: boolean, what: string): void {
  if (!condition) {
    throw new Error(`the attack proves nothing: ${what} did not happen`);
  }
}
