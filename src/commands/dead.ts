/** The commands `dead list` and `dead replay`: what PostgreSQL refused, and another chance for it. */
import type { Config } from "../config.js";
import {
  type DeadLetterReplay,
  type DeadLetterSummary,
  listDeadLetters,
  replayDeadLetters,
} from "../sink/dead-letter-replay.js";
import type { Command, CommandLine, CommandOption } from "./command.js";
import { print } from "./print.js";
import { UsageError } from "./usage-error.js";
import { withPool } from "./with-pool.js";

const DEFAULT_LIMIT = 50;
const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;
const JSON_OPTION: CommandOption = { type: "boolean", description: "a line of JSON for each result" };

export const deadListCommand: Command = {
  run: list,
  description: "show the events that PostgreSQL refused, newest first",
  options: {
    limit: { type: "string", placeholder: "N", description: `how many, ${DEFAULT_LIMIT} by default` },
    json: JSON_OPTION,
  },
};

export const deadReplayCommand: Command = {
  run: replay,
  description: "try them again: those with the given ids, or all",
  operands: "[id ...]",
  options: { json: JSON_OPTION },
};

/** Prints the newest dead letters. Resolves with the exit status: 0, also when there are none. */
function list(config: Config, { options: { json, limit: text } }: CommandLine): Promise<number> {
  const limit = Number(text ?? DEFAULT_LIMIT);
  if (!Number.isInteger(limit) || limit < 1) {
    throw new UsageError("--limit takes a whole number from 1");
  }
  return withPool(config, async (pool) => {
    const letters = await listDeadLetters(pool, limit);
    print(json === true ? letters.map((letter) => JSON.stringify(letter)) : describeLetters(letters));
    return 0;
  });
}

/**
 * Replays the dead letters with the given ids, or all. Resolves with 0, or with 1 when some were refused again, or are
 * not there.
 */
function replay(config: Config, { operands: ids, options: { json } }: CommandLine): Promise<number> {
  const nonsense = ids.find((id) => !UUID.test(id));
  if (nonsense !== undefined) {
    throw new UsageError(`not an id of a dead letter: ${nonsense}`);
  }
  return withPool(config, async (pool) => {
    const result = await replayDeadLetters(pool, ids.length === 0 ? undefined : ids);
    print(json === true ? [JSON.stringify(result)] : describeReplay(result));
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
