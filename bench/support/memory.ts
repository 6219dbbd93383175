/** Measures what an event costs in memory while PostgreSQL takes none: growth of the process per queued event. */
import { execFile } from "node:child_process";
import { promisify } from "node:util";
import type { Pool } from "pg";
import { TUPLE_MAX_BYTES } from "../../src/event/tuple-codec.js";
import { emptyTable, verifyRows } from "./bulk-rows.js";
import { LOADS, makeCalls } from "./load.js";
import { during, type Measurement, rowsWritten, verifyBooks } from "./measurement.js";
import { startService } from "./service.js";

/** Bytes of memory (resident set) per event that waits in the queue of the service. */
export function queuedEventBytes(name: string, events: number): Measurement {
  // The heap, the compiled code and the buffers of the connections are as large as they get before it is measured.
  const warmUpCalls = Math.ceil(events / 3);
  return {
    name,
    unit: "B",
    run: async ({ database, directory }) => {
      await emptyTable(database.pool);
      const environment = {
        DATABASE_URL: database.url,
        QUEUE_MAX_BYTES: String((events + warmUpCalls) * TUPLE_MAX_BYTES),
      };
      const { last, result: grownBytes } = await during(
        await startService(environment),
        async ({ port, pid }) => {
          await makeCalls({ port, directory }, LOADS.grpc, warmUpCalls);
          await rowsWritten(database, warmUpCalls);
          return whileLocked(database.pool, async () => {
            const before = await residentBytes(pid);
            await makeCalls({ port, directory }, LOADS.grpc, events);
            return (await residentBytes(pid)) - before;
          });
        },
      );
      const oks = warmUpCalls + events;
      const accepted = verifyBooks(last, { oks, cutMax: 0 });
      await verifyRows(database.pool, accepted);
      return { value: grownBytes / events, oks, accepted, rows: accepted };
    },
  };
}

/** Runs `work` while nobody else can write to `incoming`. */
async function whileLocked<T>(pool: Pool, work: () => Promise<T>): Promise<T> {
  const client = await pool.connect();
  try {
    await client.query("BEGIN");
    await client.query("LOCK TABLE incoming IN EXCLUSIVE MODE");
    return await work();
  } finally {
    await client.query("ROLLBACK").finally(() => client.release());
  }
}

async function residentBytes(pid: number): Promise<number> {
  const { stdout } = await promisify(execFile)("ps", ["-o", "rss=", "-p", String(pid)]);
  return Number(stdout) * 1024;
}
