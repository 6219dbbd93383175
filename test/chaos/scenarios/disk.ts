/** A disk is full, or read-only: PostgreSQL's or the spool's. Needs the right to mount; without it, says so. */
import { join } from "node:path";
import { until } from "../../support/wait.js";
import { ChaosRig, type LedgerRow } from "../support/chaos-rig.js";
import { didHappen, type Scenario } from "../support/scenario.js";
import { SmallDisk } from "../support/small-disk.js";

const POSTGRES_DISK_BYTES = 200 * 2 ** 20;
const SPOOL_DISK_BYTES = 512 * 2 ** 10;
const FLUSH_FAILED = "flush failed; the batch is kept and tried again";
const SPOOL_FAILED = "buffer: cannot store; the batch stays in memory";

/** Undefined, which skips the scenario, where the machine does not let us mount a disk. */
async function onSmallDisk(
  bytes: number,
  work: (disk: SmallDisk) => Promise<LedgerRow>,
): Promise<LedgerRow | undefined> {
  await using disk = await SmallDisk.mount(bytes);
  return disk === undefined ? undefined : await work(disk);
}

/** PostgreSQL is away, and the spool's disk fails too; both come back. */
async function spoolDiskFails(
  disk: SmallDisk,
  title: string,
  fail: () => Promise<void>,
  mend: () => Promise<void>,
): Promise<LedgerRow> {
  await using rig = await ChaosRig.start({ SPOOL_DIR: join(disk.path, "spool") });
  const producers = rig.produce();
  await producers.acknowledges(200);
  await rig.stopPostgres();
  await fail();
  await until(() => rig.count(SPOOL_FAILED) > 0, "a failure of the spool");
  const refused = producers.failedCalls;
  await until(() => producers.failedCalls > refused, "a refused call");
  await mend();
  await rig.startPostgres();
  await producers.acknowledges(500);
  return await rig.settle(title);
}

export const diskScenarios: readonly Scenario[] = [
  {
    fault: "PostgreSQL's disk full",
    only: "full",
    run: () =>
      onSmallDisk(POSTGRES_DISK_BYTES, async (disk) => {
        await using rig = await ChaosRig.start({}, disk.path);
        const producers = rig.produce({ pauseMs: 2 });
        await producers.acknowledges(200);
        await disk.fill();
        await until(() => rig.count(FLUSH_FAILED) > 2, "failed flushes");
        await disk.free();
        await producers.acknowledges(200);
        const row = await rig.settle("PostgreSQL's disk full, then freed");
        didHappen(row.rows > 0, "a row");
        return row;
      }),
  },
  {
    fault: "spool's disk full",
    only: "full",
    run: () =>
      onSmallDisk(SPOOL_DISK_BYTES, (disk) =>
        spoolDiskFails(
          disk,
          "PostgreSQL away and the spool's disk full, then both back",
          () => Promise.resolve(),
          () => Promise.resolve(),
        ),
      ),
  },
  {
    fault: "spool read-only",
    only: "full",
    run: () =>
      onSmallDisk(SPOOL_DISK_BYTES, (disk) =>
        spoolDiskFails(
          disk,
          "PostgreSQL away and the spool read-only, then both back",
          () => disk.setReadOnly(true),
          () => disk.setReadOnly(false),
        ),
      ),
  },
];
