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
  /** Whose code it is: `Node`, `V8 and native`, `service`, or a package, for example `@bufbuild/protobuf`. */
  readonly origin: string;
  readonly selfMs: number;
}

/** What is neither a function nor work. */
const IDLE = "(idle)";

/** Functions by their self time, longest first. Idle time is left out, so the sum is the time that was worked. */
export async function readSelfTimes(path: string): Promise<SelfTime[]> {
  const { nodes, samples, timeDeltas } = JSON.parse(await readFile(path, "utf8")) as CpuProfile;
  const nodesById = new Map(nodes.map((node) => [node.id, node]));
  const byName = new Map<string, SelfTime>();
  for (const [i, id] of samples.entries()) {
    const node = nodesById.get(id);
    if (node !== undefined && node.callFrame.functionName !== IDLE) {
      const name = nameOf(node);
      // A delta is the time before its sample; the time until the next is what belongs to this one.
      const selfMs = (byName.get(name)?.selfMs ?? 0) + (timeDeltas[i + 1] ?? 0) / 1e3;
      byName.set(name, { name, origin: originOf(node), selfMs });
    }
  }
  return [...byName.values()].sort((a, b) => b.selfMs - a.selfMs);
}

/** The same time by origin, longest first. */
export function sumByOrigin(selfTimes: readonly SelfTime[]): [origin: string, selfMs: number][] {
  const sums = new Map<string, number>();
  for (const { origin, selfMs } of selfTimes) {
    sums.set(origin, (sums.get(origin) ?? 0) + selfMs);
  }
  return [...sums].sort(([, a], [, b]) => b - a);
}

function nameOf({ callFrame: { functionName, url, lineNumber } }: ProfileNode): string {
  const name = functionName === "" ? "(anonymous)" : functionName;
  return url === "" ? name : `${name} (${url.startsWith("node:") ? url : basename(url)}:${lineNumber + 1})`;
}

function originOf({ callFrame: { url } }: ProfileNode): string {
  if (url === "") {
    return "V8 and native";
  }
  const inPackage = /\/node_modules\/((?:@[^/]+\/)?[^/]+)\//.exec(url);
  return url.startsWith("node:") ? "Node" : (inPackage?.[1] ?? "service");
}
