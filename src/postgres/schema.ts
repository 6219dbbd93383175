/** Sees to it, once, that the database is as this version needs it before anything is written to it. */

import type { Clock } from "../util/clock.js";
import { orAborted } from "./pool.js";
import { isOutage } from "./sqlstate.js";

export interface SchemaDeps {
  /** Applies missing migrations, and gives up when the signal aborts; safe to repeat. */
  readonly migrate: (signal: AbortSignal) => Promise<unknown>;
  /** Makes missing partitions. Not fatal: without one, rows go to the default partition. */
  readonly createPartitions: () => Promise<void>;
  readonly clock: Pick<Clock, "schedule">;
}

/** Longest wait for partitions, in milliseconds: they go on being made, and rows that have none go to the default one. */
const PARTITIONS_TIMEOUT_MS = 10_000;

/** The schema of the database. */
export class Schema {
  readonly #deps: SchemaDeps;
  #preparation: Promise<void> | undefined;

  constructor(deps: SchemaDeps) {
    this.#deps = deps;
  }

  /**
   * Migrates and makes partitions, the first time; a failure is forgotten, so that the next call tries again. Those who
   * call meanwhile share what the first one began, which ends when the first one's signal aborts.
   */
  prepare(signal: AbortSignal): Promise<void> {
    this.#preparation ??= this.#prepare(signal).catch((error: unknown) => {
      this.#preparation = undefined;
      throw error;
    });
    return this.#preparation;
  }

  /**
   * Prepares at start. A database that is merely out of reach is not an error: the service starts without it and
   * prepares before the first flush. Returns the fault that was tolerated, if any; any other is thrown, and so is the
   * signal's reason.
   */
  async prepareIfReachable(signal: AbortSignal): Promise<unknown> {
    try {
      await this.prepare(signal);
      return undefined;
    } catch (error) {
      if (!signal.aborted && isOutage(error)) {
        return error;
      }
      throw error;
    }
  }

  /** The commit of a partition may wait as long as a standby does not answer; nobody who pushes has to. */
  #createPartitions(): Promise<void> {
    return new Promise((resolve, reject) => {
      const cancel = this.#deps.clock.schedule(PARTITIONS_TIMEOUT_MS, resolve);
      void this.#deps.createPartitions().then(resolve, reject).finally(cancel);
    });
  }

  async #prepare(signal: AbortSignal): Promise<void> {
    await this.#deps.migrate(signal);
    await orAborted(signal, () => this.#createPartitions());
  }
}
