import type { Pool } from "pg";
import { pino } from "pino";
import { migrate } from "../../../src/postgres/migrate.js";
import { closePool, createPool } from "../../../src/postgres/pool.js";
import { PostgresSink } from "../../../src/sink/postgres-sink.js";
import { SinkError } from "../../../src/sink/sink.js";
import { migrationsDirectory } from "../../../src/util/package-info.js";
import { encodeBatch, rowsAt } from "../../support/encoded.js";
import { PostgresPair } from "../../support/postgres-pair.js";
import { until } from "../../support/wait.js";

const logger = pino({ level: "silent" });

let pair: PostgresPair;
let pool: Pool;
let sink: PostgresSink;

beforeAll(async () => {
  pair = await PostgresPair.start();
  const { signal } = new AbortController();
  await migrate({ url: pair.primary.url, directory: migrationsDirectory, logger, signal });
}, 60_000);
afterAll(() => pair[Symbol.asyncDispose]());

beforeEach(() => {
  pool = createPool({ url: pair.primary.url, logger });
  sink = new PostgresSink({ pool, prepare: () => Promise.resolve(), logger });
});
afterEach(() => closePool(pool));

const options = (attempt: number) => ({ signal: new AbortController().signal, attempt });

/** Cancels the first commit that waits for the standby. */
async function cancelTheWait(): Promise<void> {
  await until(async () => {
    const cancelled = await pair.primary.query(
      "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE wait_event = 'SyncRep'",
    );
    return cancelled.length > 0;
  }, "a commit that waits for the standby");
}

async function rowsOnStandby(): Promise<number> {
  const [row] = await pair.standby.query<{ count: number }>("SELECT count(*)::int FROM incoming");
  return row?.count ?? 0;
}

test("a batch whose commit was let go without the standby is not written until the standby has it", async () => {
  const batch = encodeBatch(rowsAt(Date.UTC(2026, 0, 15), 10));
  await pair.standby.stop();

  const first = sink.write(batch, options(1)).catch((error: unknown) => error);
  await cancelTheWait();
  const fault = await first;
  expect(fault).toBeInstanceOf(SinkError);
  expect(fault).toMatchObject({
    faultClass: "transient",
    message: expect.stringMatching(/standby may not have it/),
  });

  // Every row is on the primary by now: a transaction that finds only duplicates would wait for nobody.
  const second = sink.write(batch, options(2)).catch((error: unknown) => error);
  await cancelTheWait();
  expect(await second).toMatchObject({ faultClass: "transient" });

  const third = sink.write(batch, options(3));
  await pair.standby.start();
  expect(await third).toMatchObject({ inserted: 0, duplicates: 10 });
  expect(await rowsOnStandby()).toBe(10);
}, 60_000);

test("a trigger's warning of the same SQLSTATE puts nothing in doubt", async () => {
  await pair.primary.query(
    `CREATE FUNCTION warn() RETURNS trigger LANGUAGE plpgsql AS
       $$ BEGIN RAISE WARNING 'careful' USING ERRCODE = '01000'; RETURN NEW; END $$`,
  );
  await pair.primary.query(
    "CREATE TRIGGER warn BEFORE INSERT ON incoming FOR EACH ROW EXECUTE FUNCTION warn()",
  );
  try {
    const batch = encodeBatch(rowsAt(Date.UTC(2026, 0, 16), 3));
    expect(await sink.write(batch, options(1))).toMatchObject({ inserted: 3 });
  } finally {
    await pair.primary.query("DROP TRIGGER warn ON incoming");
  }
});
