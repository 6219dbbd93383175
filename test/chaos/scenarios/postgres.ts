/** PostgreSQL fails, or someone does something to it. */

import { delay, until } from "../../support/wait.js";
import { ChaosRig, type LedgerRow } from "../support/chaos-rig.js";
import { didHappen, type Scenario } from "../support/scenario.js";

/** The statement begins with what its transaction needs. */
const COPY_IN_PROGRESS =
  "FROM pg_stat_activity WHERE query LIKE '%COPY incoming (%' AND state = 'active' AND pid <> pg_backend_pid()";

/** Producers push all the while `work` goes on. */
async function underLoad(title: string, work: (rig: ChaosRig) => Promise<void>): Promise<LedgerRow> {
  await using rig = await ChaosRig.start();
  const producers = rig.produce({ pauseMs: 5 });
  await producers.acknowledges(200);
  await work(rig);
  await producers.acknowledges(200);
  return await rig.settle(title);
}

/** Holds all writes to `incoming` back until the returned function is called. */
async function lockTable(rig: ChaosRig): Promise<() => Promise<void>> {
  const client = await rig.connect();
  await client.query("BEGIN");
  await client.query("LOCK TABLE incoming IN ACCESS EXCLUSIVE MODE");
  return () => client.end();
}

function copyIsInProgress(rig: ChaosRig): Promise<void> {
  return until(
    async () => (await rig.query(`SELECT 1 ${COPY_IN_PROGRESS}`)).rowCount !== 0,
    "a COPY in progress",
  );
}

/** A fault of the schema, made and unmade by statements, and seen by the service in between. */
function schemaFault(
  title: string,
  make: (rig: ChaosRig) => Promise<void>,
  unmake: (rig: ChaosRig) => Promise<void>,
) {
  return underLoad(title, async (rig) => {
    await make(rig);
    const failures = rig.count("flush failed; the batch is kept and tried again");
    await until(
      () => rig.count("flush failed; the batch is kept and tried again") > failures,
      "a failed flush",
    );
    await unmake(rig);
  });
}

const TODAY = "to_char(now() AT TIME ZONE 'UTC', 'YYYYMMDD')";

async function detachPartitions(rig: ChaosRig): Promise<void> {
  await rig.query(`DO $$ BEGIN
    EXECUTE 'ALTER TABLE incoming DETACH PARTITION incoming_' || ${TODAY};
    ALTER TABLE incoming DETACH PARTITION incoming_default;
  END $$`);
}

async function attachPartitions(rig: ChaosRig): Promise<void> {
  // The bounds are those of the neighbours, which touch.
  const { rows } = await rig.query<{ bound: string; name: string }>(
    `SELECT pg_get_expr(relpartbound, oid) AS bound, relname AS name FROM pg_class
     WHERE relname IN ('incoming_' || to_char(now() AT TIME ZONE 'UTC' - interval '1 day', 'YYYYMMDD'),
                       'incoming_' || to_char(now() AT TIME ZONE 'UTC' + interval '1 day', 'YYYYMMDD'))
     ORDER BY relname`,
  );
  const from = /TO \('([^']+)'\)/.exec(rows[0]?.bound ?? "")?.[1];
  const to = /FROM \('([^']+)'\)/.exec(rows[1]?.bound ?? "")?.[1];
  await rig.query(`DO $$ BEGIN
    EXECUTE 'ALTER TABLE incoming ATTACH PARTITION incoming_' || ${TODAY} || ' FOR VALUES FROM (''${from}'') TO (''${to}'')';
    ALTER TABLE incoming ATTACH PARTITION incoming_default DEFAULT;
  END $$`);
}

/** New sessions get the setting, so the service's old ones are ended. */
async function setReadOnly(rig: ChaosRig, value: "on" | "off"): Promise<void> {
  const client = await rig.connect();
  await client.query("SET default_transaction_read_only = off");
  await client.query(`ALTER DATABASE stats SET default_transaction_read_only = ${value}`);
  await client.query(
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'stats' AND pid <> pg_backend_pid()",
  );
  await client.end();
}

function backendTerminated(times: number) {
  return () =>
    underLoad(`backend terminated in the middle of COPY, ${times} times`, async (rig) => {
      for (let time = 0; time < times; time++) {
        const unlock = await lockTable(rig);
        await copyIsInProgress(rig);
        await rig.query(`SELECT pg_terminate_backend(pid) ${COPY_IN_PROGRESS}`);
        await unlock();
      }
      didHappen(rig.count("flush failed; the batch is kept and tried again") > 0, "a failed flush");
    });
}

export const postgresScenarios: readonly Scenario[] = [
  { fault: "backend terminated", only: "full", run: backendTerminated(10) },
  { fault: "backend terminated, a few", only: "short", run: backendTerminated(3) },
  {
    fault: "immediate shutdown",
    only: "full",
    run: () =>
      underLoad("immediate shutdown and restart of PostgreSQL, 5 times", async (rig) => {
        for (let time = 0; time < 5; time++) {
          await rig.crashPostgres();
          await until(() => rig.query("SELECT 1").then(Boolean, () => false), "PostgreSQL to be back");
          await delay(1_000);
        }
        didHappen(rig.count("flush failed; the batch is kept and tried again") > 0, "a failed flush");
      }),
  },
  {
    fault: "table lock",
    only: "full",
    run: () =>
      underLoad("table lock held for 40 s", async (rig) => {
        const unlock = await lockTable(rig);
        await copyIsInProgress(rig);
        // Longer than a statement may take, so that the wait is given up and tried again.
        await delay(40_000);
        await unlock();
        didHappen(rig.count("flush failed; the batch is kept and tried again") > 0, "a failed flush");
      }),
  },
  {
    fault: "read-only",
    only: "full",
    run: () =>
      schemaFault(
        "read-only mode, and back",
        (rig) => setReadOnly(rig, "on"),
        (rig) => setReadOnly(rig, "off"),
      ),
  },
  {
    fault: "table renamed",
    only: "full",
    run: () =>
      schemaFault(
        "incoming renamed away, and back",
        async (rig) => void (await rig.query("ALTER TABLE incoming RENAME TO elsewhere")),
        async (rig) => void (await rig.query("ALTER TABLE elsewhere RENAME TO incoming")),
      ),
  },
  {
    fault: "partition missing",
    only: "full",
    run: () => schemaFault("the day's partition missing, and back", detachPartitions, attachPartitions),
  },
];
