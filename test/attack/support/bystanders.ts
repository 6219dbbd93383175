/** Well-behaved callers that push at a steady pace over each protocol, and what they noticed of an attack. */
import { readFile } from "node:fs/promises";
import { Code, ConnectError, createClient } from "@connectrpc/connect";
import { createConnectTransport, createGrpcTransport } from "@connectrpc/connect-node";
import { StatsService } from "../../../gen/stats/v1/stats_pb.js";
import { newEventId } from "../../support/pushes.js";
import { amount } from "./attack.js";

/** Time between two pushes of a caller, in milliseconds. */
const PACE_MS = amount(20, 5);

/** What happened to the pushes. */
export interface BystanderReport {
  /** What the work that ran meanwhile failed with; undefined if it did not. */
  readonly fault: unknown;
  readonly acknowledged: readonly string[];
  readonly failures: readonly string[];
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly rssMib: readonly [before: number, most: number, after: number] | undefined;
}

type Client = ReturnType<typeof createClient<typeof StatsService>>;

/** Callers of a service; their connections last from one attack to the next. */
export class Bystanders {
  readonly #pid: number;
  readonly #clients: Client[];

  constructor(url: string, pid: number) {
    this.#pid = pid;
    const options = { baseUrl: url, idleConnectionTimeoutMs: 60_000 };
    this.#clients = [
      createConnectTransport({ ...options, httpVersion: "1.1", useBinaryFormat: false }),
      createConnectTransport({ ...options, httpVersion: "2" }),
      createGrpcTransport(options),
    ].map((transport) => createClient(StatsService, transport));
  }

  /** Pushes while `work` runs, at least `countMin` times for each caller. Never rejects. */
  async during(work: () => Promise<void>, countMin: number): Promise<BystanderReport> {
    const before = await residentMib(this.#pid);
    let most = before ?? 0;
    let isOver = false;
    const latencies: number[] = [];
    const acknowledged: string[] = [];
    const failures: string[] = [];
    const pushSteadily = async (client: Client) => {
      for (let count = 0; count < countMin || !isOver; count++) {
        const eventId = newEventId();
        const start = performance.now();
        try {
          await client.push({ property: "news", section: 1, item: 1, eventId }, { timeoutMs: 30_000 });
          acknowledged.push(eventId);
        } catch (error) {
          const { code, rawMessage } = ConnectError.from(error);
          failures.push(`${Code[code]}: ${rawMessage}`);
        }
        latencies.push(performance.now() - start);
        most = Math.max(most, (await residentMib(this.#pid)) ?? 0);
        await new Promise((resolve) => setTimeout(resolve, PACE_MS));
      }
    };
    const pushing = Promise.all(this.#clients.map(pushSteadily));
    const [outcome] = await Promise.allSettled([work()]);
    isOver = true;
    await pushing;
    const after = await residentMib(this.#pid);
    latencies.sort((a, b) => a - b);
    const quantile = (q: number) => latencies[Math.floor(q * (latencies.length - 1))] ?? 0;
    return {
      fault: outcome?.status === "rejected" ? outcome.reason : undefined,
      acknowledged,
      failures,
      p50Ms: quantile(0.5),
      p99Ms: quantile(0.99),
      rssMib: before === undefined || after === undefined ? undefined : [before, most, after],
    };
  }
}

/** Memory that a process has resident, in MiB; undefined where there is no /proc. */
async function residentMib(pid: number): Promise<number | undefined> {
  const status = await readFile(`/proc/${pid}/status`, "latin1").catch(() => "");
  const kib = /^VmRSS:\s+(\d+) kB/m.exec(status)?.[1];
  return kib === undefined ? undefined : Math.round(Number(kib) / 1024);
}
