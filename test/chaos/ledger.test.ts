import { jest } from "@jest/globals";
import { dataScenarios } from "./scenarios/data.js";
import { diskScenarios } from "./scenarios/disk.js";
import { networkScenarios } from "./scenarios/network.js";
import { postgresScenarios } from "./scenarios/postgres.js";
import { randomScenarios } from "./scenarios/random.js";
import { serviceScenarios } from "./scenarios/service.js";
import { spoolScenarios } from "./scenarios/spool.js";
import type { LedgerRow } from "./support/chaos-rig.js";
import { chaosSeed } from "./support/random.js";
import { ledgerTable } from "./support/scenario.js";

/** `npm run test:chaos` runs all scenarios; `npm test` the short ones. */
const isFull = process.env.CHAOS === "full";

const scenarios = [
  ...serviceScenarios,
  ...postgresScenarios,
  ...networkScenarios,
  ...dataScenarios,
  ...spoolScenarios,
  ...diskScenarios,
  ...randomScenarios,
].filter(({ only }) => only === undefined || (only === "full") === isFull);

// A scenario restarts services and databases, some of them a hundred times.
jest.setTimeout(900_000);

const ledger: LedgerRow[] = [];

afterAll(() => {
  process.stdout.write(
    `\n${ledgerTable(ledger)}\n\nCHAOS_SEED=${chaosSeed} repeats what was drawn at random.\n`,
  );
});

test.each(scenarios)(
  "$fault: each acknowledged event is in the table and in the counts exactly once",
  async ({ run, lostMax = 0 }) => {
    const row = await run();
    if (row === undefined) {
      return;
    }
    ledger.push(row);
    if (isFull) {
      process.stdout.write(`${ledgerTable([row]).split("\n").at(-1)}\n`);
    }
    expect(row.lost).toBeLessThanOrEqual(lostMax);
    expect(row.doubled).toBe(0);
    expect(row.miscounted).toBe(0);
    expect(row.acknowledged).toBeGreaterThan(0);
  },
);
