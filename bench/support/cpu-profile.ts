/** Reads a .cpuprofile, as V8 writes it, and adds up where the time went. */
import { readFile } from "node:fs/promises";
import { basename } from "node:path";

// https://chromedevtools.github.io/devtools-protocol/tot/Profiler/#type-Profile
interface CpuProfile {
  readonly nodes: readonly ProfileNode[];
  /** Ids of nodes. */
  readonly samples: readonly number[];
  /** Microseconds since the sample before. */
  readonly timeDeltas: readonly number[];
}

interface ProfileNode {
  readonly id: number;
  readonly callFrame: {
    readonly functionName: string;
    readonly url: string;
    /** Counts from 0. */
    readonly lineNumber: number;
  };
}

/** A function, and the time in it itself, without what it called. */
export interface SelfTime {
  /** For example `push (flusher.js:117)`; what V8 does itself is in parentheses: `(garbage collector)`. */
  readonly name: string;
  readonly selfMs: number;
}

/** What is neither a function nor work. */
const IDLE = "(idle)";

/** Functions by their self time, longest first. Idle time is left out, so the sum is the time that was worked. */
export async function readSelfTimes(path: string): Promise<SelfTime[]> {
  const { nodes, samples, timeDeltas } = JSON.parse(await readFile(path, "utf8")) as CpuProfile;
  const names = new Map(nodes.map((node) => [node.id, nameOf(node)]));
  const selfUs = new Map<string, number>();
  for (const [i, id] of samples.entries()) {
    const name = names.get(id) ?? "(unknown)";
    // A delta is the time before its sample; the time until the next is what belongs to this one.
    selfUs.set(name, (selfUs.get(name) ?? 0) + (timeDeltas[i + 1] ?? 0));
  }
  selfUs.delete(IDLE);
  return [...selfUs].map(([name, us]) => ({ name, selfMs: us / 1e3 })).sort((a, b) => b.selfMs - a.selfMs);
}

function nameOf({ callFrame: { functionName, url, lineNumber } }: ProfileNode): string {
  const name = functionName === "" ? "(anonymous)" : functionName;
  return url === "" ? name : `${name} (${url.startsWith("node:") ? url : basename(url)}:${lineNumber + 1})`;
}
