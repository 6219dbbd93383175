/** PostgreSQL is away for longer than memory lasts, and worse happens meanwhile. */

import { delay, until } from "../../support/wait.js";
import { ChaosRig } from "../support/chaos-rig.js";
import { chaosSeed, seededRandom } from "../support/random.js";
import { didHappen, type Scenario } from "../support/scenario.js";

const SPOOLED = "batch stored in the buffer";
const REPLAYED = "buffer: batch replayed";

export const spoolScenarios: readonly Scenario[] = [
  {
    fault: "outage",
    only: "full",
    async run() {
      await using rig = await ChaosRig.start();
      const producers = rig.produce();
      await producers.acknowledges(200);
      await rig.stopPostgres();
      await until(() => rig.count(SPOOLED) >= 10, "10 batches in the spool");
      await rig.startPostgres();
      await producers.acknowledges(200);
      const row = await rig.settle("PostgreSQL away until memory is full");
      didHappen(row.spooled > 0 && row.replayed === row.spooled, "a replay of all that was spooled");
      return row;
    },
  },
  {
    fault: "outage, durable",
    only: "full",
    async run() {
      await using rig = await ChaosRig.start();
      const producers = rig.produce({ ack: "ACK_MODE_DURABLE" });
      await producers.acknowledges(200);
      await rig.stopPostgres();
      await producers.acknowledges(2_000);
      await rig.startPostgres();
      await producers.acknowledges(200);
      const row = await rig.settle("durable pushes while PostgreSQL is away");
      didHappen(row.spooled >= 2_000 && row.replayed === row.spooled, "2,000 durable events in the spool");
      return row;
    },
  },
  {
    fault: "stopped in an outage",
    only: "full",
    async run() {
      await using rig = await ChaosRig.start();
      const producers = rig.produce();
      await producers.acknowledges(500);
      await rig.stopPostgres();
      await producers.acknowledges(1_000);
      const status = await rig.endService("SIGTERM");
      didHappen(status === 0 && rig.count(SPOOLED) > 0, "an orderly stop into the spool");
      await rig.startService();
      await producers.acknowledges(500);
      await rig.startPostgres();
      return await rig.settle("SIGTERM and restart while PostgreSQL is away");
    },
  },
  {
    fault: "killed while spooling",
    only: "full",
    async run() {
      const random = seededRandom(chaosSeed);
      await using rig = await ChaosRig.start();
      const producers = rig.produce({ ack: "ACK_MODE_DURABLE" });
      await producers.acknowledges(100);
      await rig.stopPostgres();
      for (let time = 0; time < 20; time++) {
        await producers.acknowledges(random(1, 200));
        await rig.endService("SIGKILL");
        await rig.startService();
      }
      await rig.startPostgres();
      await producers.acknowledges(100);
      const row = await rig.settle("SIGKILL in the middle of writing the spool, 20 times, DURABLE");
      didHappen(row.spooled > 0, "a batch in the spool");
      return row;
    },
  },
  {
    fault: "killed while replaying",
    only: "full",
    async run() {
      await using rig = await ChaosRig.start();
      // A file a call, so that there is much to replay.
      const producers = rig.produce({ ack: "ACK_MODE_DURABLE", producers: 4 });
      await producers.acknowledges(100);
      await rig.stopPostgres();
      await producers.acknowledges(1_500);
      await producers.stop();
      await rig.startPostgres();
      for (let time = 0; time < 10; time++) {
        const replayed = rig.count(REPLAYED);
        await until(
          () => rig.count(REPLAYED) > replayed || rig.count("buffer: all of it is replayed") > 0,
          "a replay",
        );
        await rig.endService("SIGKILL");
        await rig.startService();
      }
      const row = await rig.settle("SIGKILL in the middle of replaying the spool, 10 times");
      didHappen(row.replayed > 0, "a replay");
      return row;
    },
  },
  {
    fault: "spool full",
    only: "full",
    async run() {
      await using rig = await ChaosRig.start({ SPOOL_MAX_BYTES: "400000" });
      const producers = rig.produce();
      await producers.acknowledges(200);
      await rig.stopPostgres();
      const failed = producers.failedCalls;
      await until(() => producers.failedCalls > failed + 100, "refused calls");
      await delay(2_000);
      await rig.startPostgres();
      await producers.acknowledges(200);
      const row = await rig.settle("PostgreSQL away until memory and spool are full");
      didHappen(row.spooled > 0, "a batch in the spool");
      return row;
    },
  },
];
