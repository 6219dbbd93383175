/** Attacks by connections alone. */
import { setTimeout as sleep } from "node:timers/promises";
import { openFilesLimit } from "../../../src/server/connection-limit.js";
import { type Attack, amount, didHappen } from "../support/attack.js";
import { Attacker, CLOSED, eventually, gather, leaveAll, Tally } from "../support/attacker.js";

/** How long the service may take to do what is waited for, in milliseconds. */
const PATIENCE_MS = 15_000;

/** Of the service under attack. */
export const MAX_CONNECTIONS = amount(2000, 8000);

/** As many as the limit of open files lets this process have. */
const idle = Math.min(amount(2500, 10_000), (openFilesLimit() ?? 1024) - 256);

const idleConnections: Attack = {
  name: "idle connections",
  tried: `${idle} connections that send nothing, where ${MAX_CONNECTIONS} are allowed`,
  async run(port) {
    const tally = new Tally();
    const attackers = await gather(idle, () => Attacker.open(port, tally));
    await sleep(1_000);
    if (idle > MAX_CONNECTIONS) {
      await eventually(() => tally.of(CLOSED) > 0, PATIENCE_MS);
    }
    await leaveAll(attackers);
    if (idle > MAX_CONNECTIONS) {
      didHappen(tally.of(CLOSED) > 0, "the end of a connection that is too many");
    }
    return tally.toString();
  },
};

const comers = amount(2_000, 50_000);

const comingAndGoing: Attack = {
  name: "connections that come and go",
  onlyInFull: true,
  tried: `${comers} connections that are reset at once`,
  async run(port) {
    const tally = new Tally();
    for (let n = 0; n < comers; n += 100) {
      await leaveAll(await gather(100, () => Attacker.open(port, tally)));
    }
    return "took no notice";
  },
};

export const connectionAttacks: readonly Attack[] = [idleConnections, comingAndGoing];
