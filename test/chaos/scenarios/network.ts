/** The network between the service and PostgreSQL fails. */

import type { NetworkFault } from "../../support/fault-proxy.js";
import { delay, until } from "../../support/wait.js";
import { ChaosRig, type LedgerRow } from "../support/chaos-rig.js";
import { didHappen, type Scenario } from "../support/scenario.js";

/** A fault that lasts, then passes. */
async function lasting(fault: NetworkFault, ms: number, title: string): Promise<LedgerRow> {
  await using rig = await ChaosRig.start();
  const producers = rig.produce({ pauseMs: 5 });
  await producers.acknowledges(200);
  rig.proxy.set(fault);
  await delay(ms);
  const { strikes } = rig.proxy;
  rig.proxy.set("pass");
  await producers.acknowledges(200);
  didHappen(strikes > 0, fault);
  return await rig.settle(title);
}

/** From memory or from the spool. */
function batchesWritten(rig: ChaosRig): number {
  return rig.count("flush") + rig.count("buffer: batch replayed");
}

/** A fault that strikes a number of COPYs. */
async function striking(fault: NetworkFault, times: number, title: string): Promise<LedgerRow> {
  await using rig = await ChaosRig.start();
  const producers = rig.produce({ ack: "ACK_MODE_DURABLE" });
  await producers.acknowledges(100);
  for (let time = 0; time < times; time++) {
    rig.proxy.set(fault, 1);
    await rig.proxy.struck();
    // A batch must be written in between, or the waits between the tries grow with each strike.
    const before = batchesWritten(rig);
    await until(() => batchesWritten(rig) > before, "a batch that is written");
  }
  return await rig.settle(title);
}

export const networkScenarios: readonly Scenario[] = [
  { fault: "refused", only: "full", run: () => lasting("refuse", 3_000, "connections refused for 3 s") },
  { fault: "slow", only: "full", run: () => lasting("slow", 15_000, "500 ms of latency for 15 s") },
  { fault: "black hole", only: "full", run: () => lasting("blackhole", 45_000, "black hole for 45 s") },
  {
    fault: "reset",
    only: "full",
    run: () => striking("reset-in-copy", 50, "connection reset in the middle of COPY, 50 times"),
  },
  {
    fault: "ambiguous commit",
    only: "full",
    run: () => striking("cut-commit", 100, "cut between COMMIT and its answer, 100 times"),
  },
  {
    fault: "ambiguous commit, a few",
    only: "short",
    run: () => striking("cut-commit", 5, "cut between COMMIT and its answer, 5 times"),
  },
];
