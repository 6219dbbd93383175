/** Sees to it, once, that the database is as this version needs it before anything is written to it. */
import { classifyFault } from "./sqlstate.js";

export interface SchemaDeps {
  /** Applies missing migrations; safe to repeat. */
  readonly migrate: () => Promise<unknown>;
  /** Makes missing partitions. Not fatal: without one, rows go to the default partition. */
  readonly createPartitions: () => Promise<void>;
}

/** The schema of the database. */
export class Schema {
  readonly #deps: SchemaDeps;
  #preparation: Promise<void> | undefined;

  constructor(deps: SchemaDeps) {
    this.#deps = deps;
  }

  /** Migrates and makes partitions, the first time; a failure is forgotten, so that the next call tries again. */
  prepare(): Promise<void> {
    this.#preparation ??= this.#prepare().catch((error: unknown) => {
      this.#preparation = undefined;
      throw error;
    });
    return this.#preparation;
  }

  /**
   * Prepares at start. A database that is merely out of reach is not an error: the service starts without it and
   * prepares before the first flush. Returns the fault that was tolerated, if any; any other is thrown.
   */
  async prepareIfReachable(): Promise<unknown> {
    try {
      await this.prepare();
      return undefined;
    } catch (error) {
      if (classifyFault(error) === "transient") {
        return error;
      }
      throw error;
    }
  }

  async #prepare(): Promise<void> {
    await this.#deps.migrate();
    await this.#deps.createPartitions();
  }
}
