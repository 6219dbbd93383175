/** The commands `counts verify` and `counts rebuild`: the counts against the rows, and the counts made anew from them. */
import { InvalidArgumentError } from "commander";
import type { TimeRange } from "../../counts/days.js";
import type { Difference } from "../../counts/differences.js";
import { type RebuiltDay, rebuild } from "../../counts/rebuild.js";
import { type VerifiedDay, verify } from "../../counts/verify.js";
import { withConnection } from "../../postgres/pool.js";
import { type Call, UsageError } from "../command.js";
import { formatCount, print } from "../print.js";
import { DATABASE_SETTINGS, type DatabaseSetting, withPool } from "../with-pool.js";

export interface DaysOptions {
  readonly from?: Date;
  readonly to?: Date;
  readonly json?: boolean;
}

const DAY = /^\d{4}-\d{2}-\d{2}$/;

/** For an option that takes a day. Gives its first moment, in UTC. */
export function parseDay(text: string): Date {
  const day = new Date(`${text}T00:00:00Z`);
  if (!DAY.test(text) || Number.isNaN(day.getTime()) || day.toISOString().slice(0, 10) !== text) {
    throw new InvalidArgumentError("It takes a day (UTC) such as 2026-11-28.");
  }
  return day;
}

/** Prints day by day what was compared. Resolves with 1 if something differs. */
export function verifyCounts({ options, read }: Call<DaysOptions, DatabaseSetting>): Promise<number> {
  const range = rangeOf(options);
  return withPool(read(...DATABASE_SETTINGS), (pool) =>
    withConnection(pool, new AbortController().signal, async (client) => {
      let days = 0;
      let compared = 0;
      const { isEqual } = await verify(client, range, (day) => {
        days += 1;
        compared += day.findings === undefined ? 0 : 1;
        print(options.json === true ? [JSON.stringify(day)] : describeVerified(day));
      });
      if (options.json !== true) {
        const verdict = isEqual ? "the counts equal the rows" : "THE COUNTS DIFFER FROM THE ROWS";
        print([`${formatCount(compared)} of ${formatCount(days)} days compared: ${verdict}`]);
      }
      return isEqual ? 0 : 1;
    }),
  );
}

/** Prints day by day what was corrected. */
export function rebuildCounts({ options, read }: Call<DaysOptions, DatabaseSetting>): Promise<number> {
  const range = rangeOf(options);
  return withPool(read(...DATABASE_SETTINGS), (pool) =>
    withConnection(pool, new AbortController().signal, async (client) => {
      await rebuild(client, range, (day) =>
        print([options.json === true ? JSON.stringify(day) : describeRebuilt(day)]),
      );
      return 0;
    }),
  );
}

/** `--to` names the last day, which is in the range. */
function rangeOf({ from, to }: DaysOptions): TimeRange {
  if (from !== undefined && to !== undefined && to < from) {
    throw new UsageError("--to is before --from");
  }
  return { from, to: to && new Date(to.getTime() + 24 * 60 * 60 * 1000) };
}

const LEFT_ALONE: Readonly<Record<VerifiedDay["kind"], string>> = {
  whole: "",
  not_backfilled: "events from before the counts are not counted yet",
  removed: "left alone: rows were removed, only the counts know them",
  incomplete: "left alone: rows went before they were counted",
};

function describeVerified({ start, kind, tiers, findings }: VerifiedDay): string[] {
  const day = start.slice(0, 10);
  if (findings === undefined) {
    return [`${day}  ${LEFT_ALONE[kind]}`];
  }
  const { rows, counted, differences, examples } = findings;
  const pending = rows === counted ? "" : `, ${formatCount(rows - counted)} not counted yet`;
  const note = kind === "not_backfilled" ? `, ${LEFT_ALONE[kind]}` : "";
  const verdict = differences === 0 ? "equal" : `${formatCount(differences)} DIFFERENCES`;
  return [
    `${day}  ${formatCount(rows)} rows${pending}${note}; ${tiers.join(", ")}: ${verdict}`,
    ...examples.map(describeDifference),
  ];
}

function describeDifference({ tier, property, section, item, bucket, rows, counted }: Difference): string {
  return `            ${tier} ${property}/${section}/${item} at ${bucket}: ${counted} counted, ${rows} rows`;
}

function describeRebuilt({ start, kind, corrected }: RebuiltDay): string {
  const day = start.slice(0, 10);
  return corrected === undefined
    ? `${day}  ${LEFT_ALONE[kind]}`
    : `${day}  ${formatCount(corrected)} counts corrected`;
}
