import type { Pool } from "pg";
import { pino } from "pino";
import { ClockWitness } from "../../../src/postgres/clock-witness.js";
import { type Clock, systemClock } from "../../../src/util/clock.js";
import { FakeClock } from "../../support/fake-clock.js";
import { createStatsDatabase } from "../../support/stats-database.js";

let database: Awaited<ReturnType<typeof createStatsDatabase>>;
beforeAll(async () => {
  database = await createStatsDatabase();
});
afterAll(() => database[Symbol.asyncDispose]());

/** What a witness logs, and its clock by hand, which is `offMs` from the machine's. */
function setUp(offMs: number, pool: Pool = database.pool) {
  const fake = new FakeClock();
  let off = offMs;
  const lines: { msg: string; databaseClockAheadMs: number }[] = [];
  let onLine: () => void = () => {};
  const logger = pino(
    {},
    {
      write: (line: string) => {
        lines.push(JSON.parse(line));
        onLine();
      },
    },
  );
  const clock: Clock = {
    elapsed: fake.elapsed,
    schedule: fake.schedule,
    now: () => systemClock.now() + off,
  };
  const witness = new ClockWitness({ pool, clock, logger });
  return {
    witness,
    lines,
    /** Resolves with the next line of the log. */
    nextLine: () =>
      new Promise<void>((resolve) => {
        onLine = resolve;
      }),
    /** Lets the time pass after which PostgreSQL may be asked again. */
    aMinuteLater: () => fake.advance(60_000),
    setOff: (ms: number) => {
      off = ms;
    },
  };
}

test("a clock that is behind PostgreSQL's is warned of once, however many events come from ahead", async () => {
  const { witness, lines, nextLine, aMinuteLater, setOff } = setUp(-600_000);
  const first = nextLine();
  witness.doubt();
  witness.doubt();
  await first;
  expect(lines).toHaveLength(1);
  expect(lines[0]?.msg).toMatch(/this machine's clock, which is likely off/);
  expect(Math.round((lines[0]?.databaseClockAheadMs ?? 0) / 60_000)).toBe(10);
  await aMinuteLater();
  witness.doubt();
  // The next line is about something else: the same finding is not told again.
  await aMinuteLater();
  setOff(0);
  const second = nextLine();
  witness.doubt();
  await second;
  expect(lines).toHaveLength(2);
  expect(lines[1]?.msg).toMatch(/callers' clocks are likely off/);
});

test("PostgreSQL out of reach is no reason to fail, and it is asked again", async () => {
  let failed: () => void = () => {};
  const down = new Promise<void>((resolve) => {
    failed = resolve;
  });
  let isDown = true;
  const pool = {
    connect: () => {
      if (!isDown) {
        return database.pool.connect();
      }
      failed();
      return Promise.reject(new Error("down"));
    },
  } as unknown as Pool;
  const { witness, lines, nextLine, aMinuteLater } = setUp(-600_000, pool);
  witness.doubt();
  await down;
  isDown = false;
  await aMinuteLater();
  const line = nextLine();
  witness.doubt();
  await line;
  expect(lines).toHaveLength(1);
});
