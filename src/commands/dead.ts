/** The commands `dead list` and `dead replay`: what PostgreSQL refused, and another chance for it. */
import type { Config } from "../config.js";
import {
  type DeadLetterReplay,
  type DeadLetterSummary,
  listDeadLetters,
  replayDeadLetters,
} from "../sink/dead-letter-replay.js";
import { print } from "./print.js";
import { withPool } from "./with-pool.js";

/** What stands behind the command's name on the command line. */
export interface DeadOptions {
  readonly ids: readonly string[];
  readonly json: boolean;
  readonly limit: number;
}

/** Prints the newest dead letters. Resolves with the exit status: 0, also when there are none. */
export function deadListCommand(config: Config, { json, limit }: DeadOptions): Promise<number> {
  return withPool(config, async (pool) => {
    const letters = await listDeadLetters(pool, limit);
    print(json ? letters.map((letter) => JSON.stringify(letter)) : describeLetters(letters));
    return 0;
  });
}

/** Replays the dead letters with the given ids, or all. Resolves with 0, or with 1 when some were refused again. */
export function deadReplayCommand(config: Config, { ids, json }: DeadOptions): Promise<number> {
  return withPool(config, async (pool) => {
    const result = await replayDeadLetters(pool, ids.length === 0 ? undefined : ids);
    print(json ? [JSON.stringify(result)] : describeReplay(result));
    return result.refused === 0 ? 0 : 1;
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

function describeReplay({ replayed, duplicates, refused, firstRefusal }: DeadLetterReplay): string[] {
  const counts = `${replayed} replayed, ${duplicates} already there, ${refused} refused again and kept`;
  return firstRefusal === undefined ? [counts] : [counts, `the first refusal: ${firstRefusal}`];
}
