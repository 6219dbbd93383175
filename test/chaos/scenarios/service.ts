/** The service itself is ended, in order or not, again and again. */
import { replaceWorker } from "../../support/workers.js";
import { ChaosRig } from "../support/chaos-rig.js";
import { chaosSeed, seededRandom } from "../support/random.js";
import { didHappen, type Scenario } from "../support/scenario.js";

function endedAgainAndAgain(
  signal: "SIGTERM" | "SIGKILL",
  ack: "ACK_MODE_QUEUED" | "ACK_MODE_DURABLE",
  times: number,
): Scenario["run"] {
  return async () => {
    const random = seededRandom(chaosSeed);
    await using rig = await ChaosRig.start();
    const producers = rig.produce({ ack });
    for (let time = 0; time < times; time++) {
      await producers.acknowledges(random(1, 400));
      const status = await rig.endService(signal);
      if (signal === "SIGTERM" && status !== 0) {
        throw new Error(`exit status ${status} after SIGTERM`);
      }
      await rig.startService();
    }
    await producers.acknowledges(100);
    const row = await rig.settle(`${signal} of the service, ${times} times, ${ack.replace("ACK_MODE_", "")}`);
    didHappen(producers.failedCalls > 0, "a call during an end of the service");
    return row;
  };
}

/** What the two workers left, a lone process finds at the end: the books are made up without them. */
function workerKilledAgainAndAgain(times: number): Scenario["run"] {
  return async () => {
    const random = seededRandom(chaosSeed);
    await using rig = await ChaosRig.start();
    await rig.endService("SIGTERM");
    await rig.startService({ WORKERS: "2" });
    const producers = rig.produce({ ack: "ACK_MODE_DURABLE" });
    for (let time = 0; time < times; time++) {
      await producers.acknowledges(random(1, 400));
      await replaceWorker(rig.service, 1 + (time % 2));
    }
    await producers.acknowledges(100);
    const status = await rig.endService("SIGTERM");
    didHappen(status === 1, "an exit status that tells of the deaths");
    return await rig.settle(`SIGKILL of one of two workers, ${times} times, DURABLE`);
  };
}

/** At most what the queue holds is lost each time: not promised, but bounded. */
const KILLS = 10;
const QUEUE_ROWS_MAX = 5_000;

export const serviceScenarios: readonly Scenario[] = [
  { fault: "SIGTERM", only: "full", run: endedAgainAndAgain("SIGTERM", "ACK_MODE_QUEUED", 50) },
  { fault: "SIGKILL, durable", only: "full", run: endedAgainAndAgain("SIGKILL", "ACK_MODE_DURABLE", 50) },
  {
    fault: "SIGKILL, durable, a few",
    only: "short",
    run: endedAgainAndAgain("SIGKILL", "ACK_MODE_DURABLE", 3),
  },
  { fault: "SIGKILL of a worker", only: "full", run: workerKilledAgainAndAgain(8) },
  {
    fault: "SIGKILL, queued",
    only: "full",
    lostMax: KILLS * QUEUE_ROWS_MAX,
    run: endedAgainAndAgain("SIGKILL", "ACK_MODE_QUEUED", KILLS),
  },
];
