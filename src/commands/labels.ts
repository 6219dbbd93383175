/** The command `labels import`: names for numbers, from a CSV file into the service's database. */
import { readFile } from "node:fs/promises";
import { text } from "node:stream/consumers";
import { LabelFileError, parseLabels, writeLabels } from "../counts/label-import.js";
import { messageOf } from "../util/error-message.js";
import type { Call, CommandDefinition } from "./command.js";
import { complain, formatCount, print } from "./print.js";
import { DATABASE_SETTINGS, type DatabaseSetting, withPool } from "./with-pool.js";

export const defineLabels: CommandDefinition = (command, line) => {
  command.description("The names that stand for numbers on the page, in lists and in CSV.");
  const load = command
    .command("import")
    .summary("put names from a CSV file into the table labels")
    .description(
      "Put names from a CSV file into the table labels: all of its lines, or none if one of them is wrong.\n\n" +
        "The first line names the columns: property, section, item, label, url. section and item are empty where a label is " +
        "that of a whole property or section. A label that is there already is replaced; others stay.\n\n" +
        "Ends with 0 if they are in, else with 1.",
    )
    .argument("<file>", "the CSV file; - for standard input");
  line.runs(load, DATABASE_SETTINGS, importLabels);
};

/** Resolves with the exit status. */
async function importLabels({
  operands: [file = "-"],
  read,
}: Call<object, DatabaseSetting>): Promise<number> {
  let content: string;
  try {
    content = file === "-" ? await text(process.stdin) : await readFile(file, "utf8");
  } catch (error) {
    complain(`${file} cannot be read: ${messageOf(error)}`);
    return 1;
  }
  try {
    const rows = parseLabels(content);
    return await withPool(read(...DATABASE_SETTINGS), async (pool) => {
      await writeLabels(pool, rows);
      print([`${formatCount(rows.length)} labels are in`]);
      return 0;
    });
  } catch (error) {
    if (error instanceof LabelFileError) {
      complain(`${file}: ${error.message}; nothing was imported`);
      return 1;
    }
    throw error;
  }
}
