/** The commands under `counts`: what the service has counted. */
import { Option } from "commander";
import type { CommandDefinition } from "./command.js";
import { parseUrl, parseWholeNumber } from "./command.js";
import { QUERY_SETTINGS } from "./counts/ask.js";
import { showSeries, UNITS } from "./counts/series.js";
import { DIMENSIONS, showTop } from "./counts/top.js";
import { parseDay, rebuildCounts, verifyCounts } from "./counts/verify.js";
import { DATABASE_SETTINGS } from "./with-pool.js";

const LIMIT_DEFAULT = 20;

export const defineCounts: CommandDefinition = (command, line) => {
  command.description("What the service has counted.");
  const series = command
    .command("series")
    .summary("counts of a property, section or item over time")
    .description(
      "Show how often a property, a section of it or an item was counted, per bucket of time.\n\n" +
        "Ends with 0 if there is an answer, 1 if there is none, 69 if the service is out of reach, 77 if it refuses the caller.",
    )
    .requiredOption("--property <NAME>", "what is counted")
    .option("--section <N>", "only this section (default: all)", parseWholeNumber)
    .option("--item <N>", "only this item of the section (default: all)", parseWholeNumber)
    .addOption(
      new Option("--by <UNIT>", "length of a bucket (default: the shortest that gives at most 300)").choices(
        Object.keys(UNITS),
      ),
    );
  line.runs(addQueryOptions(series), QUERY_SETTINGS, showSeries);
  const top = command
    .command("top")
    .summary("the properties, sections or items with the highest counts")
    .description(
      "Show the properties, sections or items with the highest counts.\n\n" +
        "Ends with 0 if there is an answer, 1 if there is none, 69 if the service is out of reach, 77 if it refuses the caller.",
    )
    .addOption(new Option("--by <WHAT>", "what to list").choices(Object.keys(DIMENSIONS)).default("item"))
    .option("--property <NAME>", "only of this property (default: all)")
    .option("--section <N>", "only of this section of the property (default: all)", parseWholeNumber)
    .option("--limit <N>", "how many", parseWholeNumber, LIMIT_DEFAULT);
  line.runs(addQueryOptions(top), QUERY_SETTINGS, showTop);
  const verify = command
    .command("verify")
    .summary("compare the counts with the rows")
    .description(
      "Compare the counts with the rows of the database, day by day, in one snapshot.\n\n" +
        "Ends with 0 if they are equal, else with 1.",
    );
  line.runs(addDayOptions(verify), DATABASE_SETTINGS, verifyCounts);
  const rebuild = command
    .command("rebuild")
    .summary("make counts anew from the rows")
    .description(
      "Make the counts of whole days anew from the rows of the database, for example after rows were deleted. Events may " +
        "come in meanwhile. Days whose rows are gone are left alone.",
    );
  line.runs(addDayOptions(rebuild), DATABASE_SETTINGS, rebuildCounts);
};

function addDayOptions(command: Parameters<CommandDefinition>[0]): Parameters<CommandDefinition>[0] {
  return command
    .option("--from <DAY>", "the first day, UTC: 2026-11-28 (default: the first that there is)", parseDay)
    .option("--to <DAY>", "the last day, included (default: the last that there is)", parseDay)
    .option("--json", "one line of JSON for each day");
}

/** The options that all queries have; `QueryOptions` holds their values. */
function addQueryOptions(command: Parameters<CommandDefinition>[0]): Parameters<CommandDefinition>[0] {
  return command
    .optionsGroup("Range:")
    .addOption(
      new Option("--last <7d>", "so many hours (h), days (d), weeks (w) or months (m), this one included")
        .conflicts(["from", "to"])
        .default(undefined, "24h"),
    )
    .option(
      "--from <TIME>",
      "from this time on: 2026-11-28, 2026-11-28T14:00, or with Z or +01:00 at the end",
    )
    .option("--to <TIME>", "up to this time (default: now)")
    .option("--zone <ZONE>", "IANA time zone of times and buckets, such as Europe/Berlin", "UTC")
    .option("--compare", "count the period before, too")
    .optionsGroup("Options:")
    .addOption(new Option("--csv", "the result as CSV").conflicts("json"))
    .option("--json", "the result as one line of JSON")
    .option(
      "--url <URL>",
      "RPC port of the service (default: STATS_URL, or the one at HOST and PORT)",
      parseUrl,
    )
    .option("--token <TOKEN>", "bearer token; visible in ps, so prefer STATS_TOKEN");
}
