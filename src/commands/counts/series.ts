/** The command `counts series`: counts over time, as a table with bars, as CSV or as JSON. */
import { toJsonString } from "@bufbuild/protobuf";
import { timestampMs } from "@bufbuild/protobuf/wkt";
import {
  type Bucket,
  Granularity,
  type QuerySeriesResponse,
  QuerySeriesResponseSchema,
} from "../../../gen/stats/v1/counts_pb.js";
import type { TimeZone } from "../../counts/time-zone.js";
import type { Call } from "../command.js";
import { formatCount, print } from "../print.js";
import { ask, type QUERY_SETTINGS, type QueryOptions } from "./ask.js";
import { describeCoverage, formatTime, formatTotal, toCsv, toTable } from "./table.js";

/** What `--by` takes. */
export const UNITS: Readonly<Record<string, Granularity>> = {
  quarter: Granularity.QUARTER_HOUR,
  hour: Granularity.HOUR,
  day: Granularity.DAY,
  week: Granularity.WEEK,
  month: Granularity.MONTH,
};

interface SeriesOptions extends QueryOptions {
  readonly property: string;
  readonly section?: number;
  readonly item?: number;
  readonly by?: string;
}

/** Resolves with the exit status. */
export function showSeries(call: Call<SeriesOptions, (typeof QUERY_SETTINGS)[number]>): Promise<number> {
  const { property, section, item, by, compare = false, csv, json } = call.options;
  return ask(call, async ({ client, range, zone }) => {
    const answer = await client.querySeries({
      property,
      ...(section !== undefined && { section }),
      ...(item !== undefined && { item }),
      ...range,
      timeZone: zone.name,
      granularity: UNITS[by ?? ""] ?? Granularity.UNSPECIFIED,
      comparePrevious: compare,
    });
    if (json === true) {
      print([toJsonString(QuerySeriesResponseSchema, answer)]);
    } else if (csv === true) {
      print(csvOf(answer, zone, compare));
    } else {
      print(tableOf(answer, zone, compare, process.stdout));
    }
  });
}

function csvOf({ buckets, previous }: QuerySeriesResponse, zone: TimeZone, compare: boolean): string[] {
  const header = ["start_time", "end_time", "count", "partial", "incomplete"];
  return toCsv([
    compare ? [...header, "previous_count"] : header,
    ...buckets.map((bucket, index) => {
      const cells = [
        formatTime(startOf(bucket), zone, "offset"),
        formatTime(endOf(bucket), zone, "offset"),
        bucket.count,
        bucket.partial,
        bucket.incomplete,
      ];
      return compare ? [...cells, previous[index]?.bucket?.count ?? ""] : cells;
    }),
  ]);
}

/** For people; with bars if the output is a terminal. */
export function tableOf(
  answer: QuerySeriesResponse,
  zone: TimeZone,
  compare: boolean,
  output: { readonly isTTY?: boolean; readonly columns?: number },
): string[] {
  const { buckets, previous, granularity, coverage } = answer;
  const withTime = granularity === Granularity.QUARTER_HOUR || granularity === Granularity.HOUR;
  const rows = buckets.map((bucket, index) => ({
    cells: [
      formatTime(startOf(bucket), zone, withTime ? "minute" : "day"),
      `${formatCount(Number(bucket.count))}${bucket.incomplete ? "+" : ""}`,
      ...(compare ? [formatPrevious(previous[index]?.bucket)] : []),
    ],
    value: Number(bucket.count),
    note: bucket.partial ? "(not over)" : "",
  }));
  return [
    ...toTable([zone.name, "count", ...(compare ? ["before"] : [])], rows, output),
    "",
    formatTotal(answer.totalCount, answer.previousTotalCount),
    ...describeCoverage(coverage, zone),
  ];
}

function formatPrevious(bucket: Bucket | undefined): string {
  return bucket === undefined ? "-" : formatCount(Number(bucket.count));
}

function startOf({ startTime }: Bucket): number {
  return startTime === undefined ? 0 : timestampMs(startTime);
}

function endOf({ endTime }: Bucket): number {
  return endTime === undefined ? 0 : timestampMs(endTime);
}
