/** Reads the range of time that a command line names; it asks no service. */
import { type Timestamp, timestampFromMs } from "@bufbuild/protobuf/wkt";
import { type BucketUnit, bucketStart, nextBucketStart, shiftWallBack } from "../../counts/calendar.js";
import type { TimeZone } from "../../counts/time-zone.js";
import { UsageError } from "../command.js";

/** For a request. */
export interface QueryRange {
  readonly startTime?: Timestamp;
  readonly endTime?: Timestamp;
}

export interface RangeOptions {
  readonly last?: string | undefined;
  readonly from?: string | undefined;
  readonly to?: string | undefined;
}

const LAST_PATTERN = /^([1-9]\d{0,3})([hdwm])$/;
const LAST_UNITS: Readonly<Record<string, BucketUnit>> = { h: "hour", d: "day", w: "week", m: "month" };
const LAST_DEFAULT = "24h";
/** A date, perhaps with a time of the day, perhaps with an offset from UTC. */
const TIME_PATTERN = /^(\d{4}-\d\d-\d\d)(?:[T ](\d\d:\d\d(?::\d\d)?))?(Z|[+-]\d\d:\d\d)?$/;

/**
 * The range of `--last`, in whole units of the zone that end with the one that is going on, or of `--from` and `--to`.
 *
 * @throws UsageError
 */
export function readRange({ last, from, to }: RangeOptions, zone: TimeZone, now: number): QueryRange {
  if (from === undefined && to !== undefined) {
    throw new UsageError("--to needs --from");
  }
  if (from !== undefined) {
    return {
      startTime: timestampFromMs(readTime(from, "--from", zone)),
      ...(to !== undefined && { endTime: timestampFromMs(readTime(to, "--to", zone)) }),
    };
  }
  const [, count, letter = ""] = LAST_PATTERN.exec(last ?? LAST_DEFAULT) ?? [];
  const unit = LAST_UNITS[letter];
  if (unit === undefined) {
    throw new UsageError("--last takes a number of hours, days, weeks or months, such as 24h, 7d, 4w or 12m");
  }
  const start = startOfLast(zone, unit, Number(count), now);
  return {
    startTime: timestampFromMs(start),
    endTime: timestampFromMs(nextBucketStart(zone, unit, now)),
  };
}

function startOfLast(zone: TimeZone, unit: BucketUnit, count: number, now: number): number {
  const current = bucketStart(zone, unit, now);
  if (unit === "hour") {
    return current - (count - 1) * 3_600_000;
  }
  const days = { day: 1, week: 7 }[unit as "day"];
  const shift = unit === "month" ? { months: count - 1 } : { ms: (count - 1) * days * 86_400_000 };
  // Weeks and months begin with a day, so that the wall shows midnight there.
  return zone.firstInstantOf(shiftWallBack(zone.wallAt(current), shift));
}

/** Without an offset, what the clock on the wall shows in the zone. */
function readTime(text: string, option: string, zone: TimeZone): number {
  const [, date = "", time = "00:00", offset] = TIME_PATTERN.exec(text) ?? [];
  const wall = Date.parse(`${date}T${time}Z`);
  // Date.parse takes February 31 for March 3.
  if (!Number.isFinite(wall) || !new Date(Date.parse(date)).toISOString().startsWith(date)) {
    throw new UsageError(
      `${option} takes a time such as 2026-11-28, 2026-11-28T14:00 or 2026-11-28T14:00:00Z`,
    );
  }
  return offset === undefined ? zone.firstInstantOf(wall) : Date.parse(`${date}T${time}${offset}`);
}
