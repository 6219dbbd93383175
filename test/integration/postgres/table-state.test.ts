import { createPartitions, DAY_MS } from "../../../src/postgres/partitions.js";
import { readTableState } from "../../../src/postgres/table-state.js";
import { systemClock } from "../../../src/util/clock.js";
import { uuidv7At } from "../../support/encoded.js";
import { FakeClock } from "../../support/fake-clock.js";
import { createStatsDatabase, openTransaction } from "../../support/stats-database.js";

const NOW = Date.UTC(2026, 2, 3, 12);
const clock = new FakeClock(NOW);

test("readTableState counts days ahead without a gap, rows without a partition, and dead letters", async () => {
  await using database = await createStatsDatabase();
  const { signal } = new AbortController();
  expect(await readTableState(database.pool, clock, signal)).toEqual({
    daysAhead: 0,
    rowsInDefault: 0,
    deadLetters: 0,
    clockAheadMs: expect.any(Number),
  });
  await createPartitions(database.pool, NOW, { daysBehind: 1, daysAhead: 3 });
  await createPartitions(database.pool, NOW + 5 * DAY_MS, { daysBehind: 0, daysAhead: 0 });
  const [today, longAgo] = [uuidv7At(NOW), uuidv7At(NOW - 30 * DAY_MS)];
  await database.pool.query(`
    INSERT INTO incoming SELECT id, 'news', 3, 42, NULL, now()
      FROM unnest(ARRAY['${today}', '${longAgo}']::uuid[]) AS id;
    INSERT INTO incoming_dead (id, payload, sqlstate, message, attempts)
      SELECT id, '', '', '', 1 FROM unnest(ARRAY['${today}', '${longAgo}']::uuid[]) AS id`);
  expect(await readTableState(database.pool, clock, signal)).toEqual({
    daysAhead: 3,
    rowsInDefault: 2,
    deadLetters: 2,
    clockAheadMs: expect.any(Number),
  });
});

test("readTableState gives up waiting as soon as it is told to", async () => {
  await using database = await createStatsDatabase();
  await using _ = await openTransaction(database.pool, "LOCK TABLE incoming_dead IN ACCESS EXCLUSIVE MODE");
  const abort = new AbortController();
  const reading = readTableState(database.pool, clock, abort.signal);
  abort.abort(new Error("enough"));
  await expect(reading).rejects.toThrow("enough");
});

test("readTableState says how far PostgreSQL's clock is from ours", async () => {
  await using database = await createStatsDatabase();
  const { signal } = new AbortController();
  const { clockAheadMs } = await readTableState(database.pool, systemClock, signal);
  expect(Math.abs(clockAheadMs)).toBeLessThan(60_000);
  const late = { ...systemClock, now: () => systemClock.now() - 600_000 };
  const { clockAheadMs: ahead } = await readTableState(database.pool, late, signal);
  expect(Math.round((ahead - clockAheadMs) / 60_000)).toBe(10);
});
