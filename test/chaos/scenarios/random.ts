/** Faults of every kind, drawn at random, one on top of the other. */

import { delay } from "../../support/wait.js";
import { ChaosRig } from "../support/chaos-rig.js";
import { chaosSeed, type RandomInt, seededRandom } from "../support/random.js";
import { didHappen, type Scenario } from "../support/scenario.js";

type Fault = (rig: ChaosRig, random: RandomInt) => Promise<void>;

const killService: Fault = async (rig) => {
  await rig.endService("SIGKILL");
  await rig.startService();
};

const FAULTS: readonly Fault[] = [
  async (rig) => {
    await rig.endService("SIGTERM");
    await rig.startService();
  },
  killService,
  async (rig) => rig.crashPostgres().catch(() => undefined),
  async (rig) => rig.proxy.set("refuse"),
  async (rig) => rig.proxy.set("slow"),
  async (rig) => rig.proxy.set("blackhole"),
  async (rig, random) => rig.proxy.set("reset-in-copy", random(1, 5)),
  async (rig, random) => rig.proxy.set("cut-commit", random(1, 5)),
  async (rig) => rig.proxy.set("pass"),
  async (rig) => rig.proxy.set("pass"),
];

function atRandom(faults: number): Scenario["run"] {
  return async () => {
    const random = seededRandom(chaosSeed);
    await using rig = await ChaosRig.start();
    const durable = rig.produce({ ack: "ACK_MODE_DURABLE", producers: 8, pauseMs: 2 });
    // Some draws hold no fault that a caller sees; one kill among them always is.
    const killAt = random(0, faults - 1);
    for (let time = 0; time < faults; time++) {
      await delay(random(50, 1_500));
      const drawn = FAULTS[random(0, FAULTS.length - 1)] ?? killService;
      await (time === killAt ? killService : drawn)(rig, random);
    }
    rig.proxy.set("pass");
    await durable.acknowledges(200);
    const row = await rig.settle(`${faults} faults at random, DURABLE`);
    didHappen(durable.failedCalls > 0, "a failed call");
    return row;
  };
}

export const randomScenarios: readonly Scenario[] = [
  { fault: "at random", only: "full", run: atRandom(60) },
  { fault: "at random, a few", only: "short", run: atRandom(6) },
];
