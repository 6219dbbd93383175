/** The events themselves are the trouble. */
import { ChaosRig } from "../support/chaos-rig.js";
import { didHappen, type Scenario } from "../support/scenario.js";

export const dataScenarios: readonly Scenario[] = [
  {
    fault: "bad rows",
    only: "full",
    async run() {
      await using rig = await ChaosRig.start();
      await rig.query("ALTER TABLE incoming ADD CONSTRAINT no_bad CHECK (property <> 'bad')");
      const producers = rig.produce({ property: (n) => (n % 97 === 0 ? "bad" : "news") });
      await producers.acknowledges(5_000);
      const row = await rig.settle("one row in 97 is refused by a constraint");
      didHappen(row.dead > 0, "a dead letter");
      return row;
    },
  },
  {
    fault: "duplicates",
    only: "full",
    async run() {
      await using rig = await ChaosRig.start();
      const producers = rig.produce({ copies: 3 });
      await producers.acknowledges(2_000);
      const row = await rig.settle("each event pushed 3 times");
      didHappen(row.duplicates >= row.rows, "a duplicate of most rows");
      return row;
    },
  },
  {
    fault: "bad rows and duplicates",
    only: "full",
    async run() {
      await using rig = await ChaosRig.start();
      await rig.query("ALTER TABLE incoming ADD CONSTRAINT no_bad CHECK (property <> 'bad')");
      const producers = rig.produce({ copies: 2, property: (n) => (n % 11 === 0 ? "bad" : "news") });
      await producers.acknowledges(3_000);
      const row = await rig.settle("each event twice, one in 11 refused");
      didHappen(row.dead > 0 && row.duplicates > 0, "a dead letter and a duplicate");
      return row;
    },
  },
];
