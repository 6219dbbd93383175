/** CPU time of processes, user and system together, from /proc: Linux only. It holds still where throughput does not. */
import { readdirSync, readFileSync } from "node:fs";

/** /proc counts in these, whatever the kernel's own tick is. Source: proc(5), sysconf(_SC_CLK_TCK). */
const TICKS_PER_SECOND = 100;
const MICROSECONDS = 1e6;

interface Stat {
  readonly parent: number;
  /** In microseconds. */
  readonly own: number;
  /** Of the children that have ended and were waited for, in microseconds. */
  readonly ofChildren: number;
}

/** CPU time of a process so far, in microseconds. */
export function cpuTime(pid: number): number {
  return readStat(pid)?.own ?? 0;
}

/** CPU time of a process and of all its children, those that have ended included, in microseconds. */
export function cpuTimeOfFamily(pid: number): number {
  const stat = readStat(pid);
  const children = readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .map((name) => readStat(Number(name)))
    .filter((each) => each?.parent === pid);
  return (
    (stat?.own ?? 0) + (stat?.ofChildren ?? 0) + children.reduce((sum, each) => sum + (each?.own ?? 0), 0)
  );
}

/** CPU time of the programs that this process has started and that have ended, in microseconds. */
export function cpuTimeOfEnded(): number {
  return readStat(process.pid)?.ofChildren ?? 0;
}

/** Undefined when there is no such process any more. */
function readStat(pid: number): Stat | undefined {
  try {
    // The name, in parentheses, may hold blanks; the fields behind it are numbered from 3 on.
    const fields = readFileSync(`/proc/${pid}/stat`, "utf8")
      .replace(/^.*\) /, "")
      .split(" ");
    const field = (number: number) => Number(fields[number - 3]);
    const microseconds = (ticks: number) => (ticks / TICKS_PER_SECOND) * MICROSECONDS;
    return {
      parent: field(4),
      own: microseconds(field(14) + field(15)),
      ofChildren: microseconds(field(16) + field(17)),
    };
  } catch {
    return undefined;
  }
}
