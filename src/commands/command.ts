/** What a command is to the command line; it runs none. */
import type { Config } from "../config.js";

/** One option of a command, as parseArgs takes it and as `--help` shows it. */
export interface CommandOption {
  readonly type: "string" | "boolean";
  /** What stands for the value in `--help`; for strings. */
  readonly placeholder?: string;
  readonly description: string;
}

/** What stands on the command line behind a command's name. */
export interface CommandLine {
  readonly operands: readonly string[];
  /** The values of the command's options that were given. */
  readonly options: Readonly<Record<string, string | boolean | undefined>>;
  /** For what a command has of its own there, besides the service's settings. */
  readonly environment: Readonly<Record<string, string | undefined>>;
}

export interface Command {
  /** Resolves with an exit status. */
  run(config: Config, line: CommandLine): Promise<number>;
  readonly description: string;
  /** What may follow the name; absent: nothing. */
  readonly operands?: string;
  /** By name, without the dashes. Default: none. */
  readonly options?: Readonly<Record<string, CommandOption>>;
}
