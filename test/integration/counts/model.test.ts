import { CountsModel, POISON, seededRandom } from "../../support/counts-model.js";
import { createTestDatabase, type TestDatabase } from "../../support/database.js";
import { createStatsDatabase } from "../../support/stats-database.js";

/** `npm run test:counts` has ten times as many. */
const CASES = Number(process.env.COUNTS_CASES ?? 100);
const STEPS = 12;
const CHECK_EVERY = 4;

type Step = (model: CountsModel) => unknown;

/** What may happen to a database, and how often. */
const STEPS_BY_WEIGHT: readonly (readonly [weight: number, name: string, step: Step])[] = [
  [5, "push", (model) => model.push()],
  [4, "fold", (model) => model.fold()],
  [2, "insert by hand", (model) => model.insertByHand()],
  [2, "open a transaction", (model) => model.openTransaction()],
  [2, "end the transaction", (model) => model.endTransaction()],
  [2, "abort a fold", (model) => model.foldAborted()],
  [2, "fold twice at once", (model) => model.foldTogether()],
  [2, "make partitions", (model) => model.makePartitions()],
  [1, "advance", (model) => model.advance()],
  [2, "retain", (model) => model.retain()],
  [1, "retain while counting is stuck", (model) => model.retain(true)],
  [2, "correct", (model) => model.correct()],
  [1, "replay dead letters", (model) => model.replayDead()],
  [1, "drop old counts", (model) => model.dropCounts()],
  [1, "restore", (model) => model.adapt()],
  [1, "backfill", (model) => model.backfill()],
];

const LOTS = STEPS_BY_WEIGHT.flatMap(([weight, ...step]) => Array.from({ length: weight }, () => step));

let template: TestDatabase;
beforeAll(async () => {
  template = await createStatsDatabase();
  await template.pool.query(
    `ALTER TABLE incoming ADD CONSTRAINT no_poison CHECK (property <> '${POISON}') NOT VALID`,
  );
  // PostgreSQL copies a database only while nobody is connected to it.
  await template.pool.end();
});

afterAll(async () => {
  await template.close();
});

async function check(model: CountsModel): Promise<string[]> {
  return [...(await model.differences()), ...(await model.errors())];
}

it(`counts every event once, whatever happens, in ${CASES} histories`, async () => {
  for (let seed = Number(process.env.SEED ?? 1); seed <= CASES; seed += 1) {
    await using database = await createTestDatabase(new URL(template.url).pathname.slice(1));
    const random = seededRandom(seed);
    const model = new CountsModel(database.pool, random);
    const history: string[] = [];
    if (model.below(2) === 0) {
      await model.makePartitions();
    }
    for (let i = 0; i < STEPS; i += 1) {
      const [name, step] = model.pick(LOTS);
      history.push(name);
      await step(model);
      if (i % CHECK_EVERY !== 0) {
        continue;
      }
      const differences = await model.differences();
      expect({ seed, history: history.join(", "), differences }).toEqual({
        seed,
        history: history.join(", "),
        differences: [],
      });
    }
    await model.finish();
    const told = history.join(", ");
    expect({ seed, history: told, errors: await check(model) }).toEqual({ seed, history: told, errors: [] });
  }
}, 1_200_000);
