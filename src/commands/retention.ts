/** The command `retention`: what RETENTION_DAYS removes from the database, before it does or right now. */

import type { Config } from "../config.js";
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
import type { Command, CommandLine } from "./command.js";
import { formatBytes, formatCount, print } from "./print.js";
import { withPool } from "./with-pool.js";

export const retentionCommand: Command = {
  run: showOrRemove,
  description: "show what RETENTION_DAYS removes now",
  options: {
    apply: { type: "boolean", description: "remove it" },
    json: { type: "boolean", description: "the result as a line of JSON" },
  },
};

/**
 * Shows what is old enough to go, or removes it. Resolves with the exit status: 0, also when there is nothing; 1 when
 * something had to stay because it is in use.
 */
async function showOrRemove(config: Config, { options }: CommandLine): Promise<number> {
  const json = options.json === true;
  const apply = options.apply === true;
  const { retentionDays } = config;
  if (retentionDays === undefined) {
    const advice = "RETENTION_DAYS is not set: everything is kept. To see what it would do, set it: ";
    print(
      json
        ? [JSON.stringify({ retentionDays: null })]
        : [`${advice}RETENTION_DAYS=90 stats-service retention`],
    );
    return 0;
  }
  return await withPool(config, async (pool) => {
    const firstKeptMs = firstKeptDay(await earlierClock(pool, systemClock.now()), retentionDays);
    const firstKept = new Date(firstKeptMs).toISOString();
    const found: Removal = apply
      ? await withConnection(pool, new AbortController().signal, (client) =>
          removeExpired(client, firstKeptMs, () => undefined),
        )
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
