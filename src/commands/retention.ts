/** The command `retention`: what RETENTION_DAYS removes from the database, before it does or right now. */
import { countBeforeRemoval } from "../counts/counts-keeper.js";
import { RemovedRows } from "../counts/removed-rows.js";
import { withConnection } from "../postgres/pool.js";
import {
  type Expired,
  earlierClock,
  findExpired,
  firstKeptDay,
  type KeptPartition,
  type Removal,
  removeExpired,
} from "../postgres/retention.js";
import { systemClock } from "../util/clock.js";
import type { Call, CommandDefinition } from "./command.js";
import { formatBytes, formatCount, print } from "./print.js";
import { DATABASE_SETTINGS, type DatabaseSetting, withPool } from "./with-pool.js";

interface RetentionOptions {
  readonly apply?: boolean;
  readonly json?: boolean;
}

export const defineRetention: CommandDefinition = (command, line) => {
  command
    .description(
      "Show what RETENTION_DAYS removes now, or remove it. The service does it itself each hour.\n\n" +
        "Ends with 0, or with 1 if something had to stay because it is in use.",
    )
    .option("--apply", "remove it")
    .option("--json", "the result as one line of JSON");
  line.runs(command, ["retentionDays", ...DATABASE_SETTINGS], showOrRemove);
};

/** Shows what is old enough to go, or removes it. */
async function showOrRemove({
  options: { apply = false, json = false },
  read,
}: Call<RetentionOptions, "retentionDays" | DatabaseSetting>): Promise<number> {
  const { retentionDays } = read("retentionDays");
  if (retentionDays === undefined) {
    const advice = "RETENTION_DAYS is not set: everything is kept. To see what it would do, set it: ";
    print(
      json
        ? [JSON.stringify({ retentionDays: null })]
        : [`${advice}RETENTION_DAYS=90 stats-service retention`],
    );
    return 0;
  }
  return await withPool(read(...DATABASE_SETTINGS), async (pool) => {
    const firstKeptMs = firstKeptDay(await earlierClock(pool, systemClock.now()), retentionDays);
    const firstKept = new Date(firstKeptMs).toISOString();
    const found: Removal = apply
      ? await withConnection(pool, new AbortController().signal, async (client) => {
          await countBeforeRemoval(client, new Date(firstKeptMs));
          return removeExpired(client, firstKeptMs, { books: new RemovedRows() });
        })
      : { ...(await findExpired(pool, firstKeptMs)), kept: [] };
    print(
      json
        ? [JSON.stringify({ retentionDays, firstKept, applied: apply, ...found })]
        : [headline(firstKept, retentionDays, apply), ...describe(found), ...found.kept.map(describeKept)],
    );
    return found.kept.length === 0 ? 0 : 1;
  });
}

function headline(firstKept: string, retentionDays: number, apply: boolean): string {
  const what = apply ? "removed now" : "would be removed now (--apply does it)";
  return `RETENTION_DAYS=${retentionDays}: events before ${firstKept.slice(0, 10)} (UTC), ${what}:`;
}

function describe({ partitions, loose }: Expired): string[] {
  const lines = [
    ...partitions.map(({ name, rows, bytes }) => {
      const estimate = rows === null ? "rows not counted yet" : `about ${formatCount(rows)} rows`;
      return `  ${name.padEnd(24)} ${estimate}, ${formatBytes(bytes)}`;
    }),
    ...loose.map(
      ({ name, rows }) => `  ${name.padEnd(24)} ${formatCount(rows)} rows without a partition of their day`,
    ),
  ];
  return lines.length === 0 ? ["  nothing"] : lines;
}

function describeKept({ name, reason }: KeptPartition): string {
  return `  ${name.padEnd(24)} kept for now: ${reason}`;
}
