/** The command `counts top`: what has the highest counts, as a table with bars, as CSV or as JSON. */
import { toJsonString } from "@bufbuild/protobuf";
import {
  Dimension,
  type QueryTopResponse,
  QueryTopResponseSchema,
  type TopEntry,
} from "../../../gen/stats/v1/counts_pb.js";
import type { TimeZone } from "../../counts/time-zone.js";
import type { Call } from "../command.js";
import { formatCount, print } from "../print.js";
import { ask, type QUERY_SETTINGS, type QueryOptions, type Question } from "./ask.js";
import { describeCoverage, formatChange, formatShare, formatTotal, toCsv, toTable } from "./table.js";

/** What `--by` takes. */
export const DIMENSIONS: Readonly<Record<string, Dimension>> = {
  property: Dimension.PROPERTY,
  section: Dimension.SECTION,
  item: Dimension.ITEM,
};

const PAGE_MAX = 1_000;

interface TopOptions extends QueryOptions {
  readonly by: string;
  readonly property?: string;
  readonly section?: number;
  readonly limit: number;
}

/** Resolves with the exit status. */
export function showTop(call: Call<TopOptions, (typeof QUERY_SETTINGS)[number]>): Promise<number> {
  const { compare = false, csv, json } = call.options;
  return ask(call, async (question) => {
    const answer = await askForTop(call.options, question);
    if (json === true) {
      print([toJsonString(QueryTopResponseSchema, answer)]);
    } else if (csv === true) {
      print(csvOf(answer.entries, compare));
    } else {
      print(tableOf(answer, question.zone, compare, process.stdout));
    }
  });
}

/** The answer to the first page, with as many entries of all pages as are wanted. */
async function askForTop(
  { by, property = "", section, limit, compare = false }: TopOptions,
  { client, range, zone }: Question,
): Promise<QueryTopResponse> {
  const request = {
    dimension: DIMENSIONS[by] ?? Dimension.UNSPECIFIED,
    property,
    ...(section !== undefined && { section }),
    ...range,
    timeZone: zone.name,
    pageSize: Math.min(limit, PAGE_MAX),
    comparePrevious: compare,
  };
  const first = await client.queryTop(request);
  const entries = [...first.entries];
  let pageToken = first.nextPageToken;
  while (entries.length < limit && pageToken !== "") {
    const next = await client.queryTop({ ...request, pageToken });
    entries.push(...next.entries);
    pageToken = next.nextPageToken;
  }
  return { ...first, entries: entries.slice(0, limit), nextPageToken: "" };
}

function csvOf(entries: readonly TopEntry[], compare: boolean): string[] {
  const header = ["property", "section", "item", "label", "url", "count"];
  return toCsv([
    compare ? [...header, "previous_count"] : header,
    ...entries.map(({ property, section = "", item = "", label, url, count, previousCount }) => {
      const cells = [property, section, item, label, url, count];
      return compare ? [...cells, previousCount ?? ""] : cells;
    }),
  ]);
}

/** For people; with bars if the output is a terminal. */
export function tableOf(
  { entries, totalCount, totalSize, previousTotalCount, coverage }: QueryTopResponse,
  zone: TimeZone,
  compare: boolean,
  output: { readonly isTTY?: boolean; readonly columns?: number },
): string[] {
  const rows = entries.map((entry) => ({
    cells: [
      nameOf(entry),
      formatCount(Number(entry.count)),
      formatShare(entry.count, totalCount),
      ...(compare ? [formatChange(entry.count, entry.previousCount)] : []),
    ],
    value: Number(entry.count),
    note: plain(entry.label),
  }));
  return [
    ...toTable(["", "count", "share", ...(compare ? ["change"] : [])], rows, output),
    "",
    `${entries.length} of ${formatCount(Number(totalSize))}, ${formatTotal(totalCount, previousTotalCount)}`,
    ...describeCoverage(coverage, zone),
  ];
}

/** SQL may have put anything into the table: nothing that a terminal would obey. */
function plain(label: string): string {
  return label.replace(/\p{Cc}/gu, " ");
}

function nameOf({ property, section, item }: TopEntry): string {
  return [property, section, item].filter((part) => part !== undefined).join("/");
}
