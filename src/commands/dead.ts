/** The commands `dead list` and `dead replay`: what PostgreSQL refused, and another chance for it. */
import {
  type DeadLetterReplay,
  type DeadLetterSummary,
  listDeadLetters,
  replayDeadLetters,
} from "../sink/dead-letter-replay.js";
import { type Call, type CommandDefinition, parseWholeNumber, UsageError } from "./command.js";
import { print } from "./print.js";
import { DATABASE_SETTINGS, type DatabaseSetting, withPool } from "./with-pool.js";

const DEFAULT_LIMIT = 50;
const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;

interface ListOptions {
  readonly limit: number;
  readonly json?: boolean;
}

interface ReplayOptions {
  readonly json?: boolean;
}

export const defineDead: CommandDefinition = (command, line) => {
  command.description("The events that PostgreSQL refused for what they contain, and another try for them.");
  const list = command
    .command("list")
    .summary("show them, newest first")
    .description("Show the events that PostgreSQL refused, newest first, with its reason.")
    .option("--limit <N>", "how many", parseWholeNumber, DEFAULT_LIMIT)
    .option("--json", "one line of JSON for each");
  line.runs(list, DATABASE_SETTINGS, listLetters);
  const replay = command
    .command("replay")
    .summary("try them again")
    .description(
      "Try events that PostgreSQL refused again, once the cause is gone: those with the given ids, or all.\n\n" +
        "Ends with 0 if all of them are in, else with 1.",
    )
    .argument("[ids...]", "ids, as dead list shows them; without any: all")
    .option("--json", "the result as one line of JSON");
  line.runs(replay, DATABASE_SETTINGS, replayLetters);
};

/** Prints the newest dead letters. Resolves with the exit status: 0, also when there are none. */
function listLetters({
  options: { limit, json },
  read,
}: Call<ListOptions, DatabaseSetting>): Promise<number> {
  return withPool(read(...DATABASE_SETTINGS), async (pool) => {
    const letters = await listDeadLetters(pool, limit);
    print(json === true ? letters.map((letter) => JSON.stringify(letter)) : describeLetters(letters));
    return 0;
  });
}

/**
 * Replays the dead letters with the given ids, or all. Resolves with 0, or with 1 when some were refused again, or are
 * not there.
 */
function replayLetters({
  operands: ids,
  options,
  read,
}: Call<ReplayOptions, DatabaseSetting>): Promise<number> {
  const nonsense = ids.find((id) => !UUID.test(id));
  if (nonsense !== undefined) {
    throw new UsageError(`not an id of a dead letter: ${nonsense}`);
  }
  return withPool(read(...DATABASE_SETTINGS), async (pool) => {
    const result = await replayDeadLetters(pool, ids.length === 0 ? undefined : ids);
    print(options.json === true ? [JSON.stringify(result)] : describeReplay(result));
    return result.refused === 0 && result.missing.length === 0 ? 0 : 1;
  });
}

function describeLetters(letters: readonly DeadLetterSummary[]): string[] {
  if (letters.length === 0) {
    return ["no dead letters"];
  }
  return letters.map(({ id, property, section, item, sqlstate, message, diedAt }) => {
    const event = `${property ?? "?"} ${section ?? "?"}/${item ?? "?"}`;
    return `${diedAt.toISOString()}  ${id}  ${event}  ${sqlstate}  ${message}`;
  });
}

function describeReplay(result: DeadLetterReplay): string[] {
  const { replayed, duplicates, refused, firstRefusal, missing } = result;
  return [
    `${replayed} replayed, ${duplicates} already there, ${refused} refused again and kept`,
    ...(firstRefusal === undefined ? [] : [`the first refusal: ${firstRefusal}`]),
    ...missing.map((id) => `no dead letter has the id ${id}`),
  ];
}
