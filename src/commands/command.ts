/** What a command is made of: a definition for commander, the settings that it reads, and work that ends in an exit status. */
import { type Command, type Help, InvalidArgumentError } from "commander";
import {
  COMMAND_SETTINGS,
  readSettings,
  type SettingName,
  type Settings,
} from "../config/command-settings.js";
import { environmentName, type SettingTable } from "../config/setting.js";
import type { EarlySignals } from "../util/early-signals.js";

/** Besides 0 for all well and 1 for not; above 63 as in sysexits.h. */
export const EXIT_USAGE = 2;
/** EX_UNAVAILABLE: the service does not answer. */
export const EXIT_UNREACHABLE = 69;
/** EX_NOPERM: the service refuses the caller. */
export const EXIT_REFUSED = 77;

/** The command line is wrong in a way that no single option shows; the message says how. */
export class UsageError extends Error {
  override readonly name = "UsageError";
}

/** One call of a command. */
export interface Call<Options = object, Name extends SettingName = never> {
  /** The values of its options, by their names in camel case. */
  readonly options: Options;
  readonly operands: readonly string[];
  /**
   * Reads settings of those that the command has declared, and looks at no other: what is wrong with a setting that it
   * does not need cannot stop it.
   *
   * @throws ConfigError that names each setting at fault
   */
  readonly read: <Wanted extends Name>(...names: Wanted[]) => Pick<Settings, Wanted>;
}

/** The process that commands run in. */
export class CommandLine {
  readonly environment: Readonly<Record<string, string | undefined>>;
  /** Held for the command that handles them; before others run they are released. */
  readonly signals: EarlySignals;
  /** Of the command that has run. */
  exitStatus = 0;

  constructor(environment: CommandLine["environment"], signals: EarlySignals) {
    this.environment = environment;
    this.signals = signals;
  }

  /** Makes `work`, which resolves with an exit status, the action of `command`, and shows its settings in its help. */
  runs<Options, Name extends SettingName>(
    command: Command,
    settings: readonly Name[],
    work: (call: Call<Options, Name>) => Promise<number>,
    { handlesSignals = false } = {},
  ): void {
    command.showHelpAfterError(`Try: ${fullName(command)} --help`);
    if (settings.length > 0) {
      const table = Object.fromEntries(settings.map((name) => [name, COMMAND_SETTINGS[name]]));
      command.addHelpText("after", () => describeSettings(table, command.createHelp()));
    }
    const read: Call<Options, Name>["read"] = (...names) => readSettings(names, this.environment);
    command.action(async () => {
      if (!handlesSignals) {
        this.signals.release();
      }
      try {
        this.exitStatus = await work({ options: command.opts() as Options, operands: command.args, read });
      } catch (error) {
        if (error instanceof UsageError) {
          command.error(`error: ${error.message}`);
        }
        throw error;
      }
    });
  }
}

/** Adds all that a command has to `command`, which has a name so far: description, operands, options, work. */
export type CommandDefinition = (command: Command, line: CommandLine) => void;

function fullName(command: Command): string {
  return command.parent === null ? command.name() : `${fullName(command.parent)} ${command.name()}`;
}

const HELP_WIDTH = 80;
const HELP_INDENT = 6;

/** The settings of a table, as they stand in the help of a command. */
export function describeSettings(table: SettingTable, help: Help): string {
  const width = (process.stdout.columns ?? HELP_WIDTH) - HELP_INDENT;
  const lines = Object.entries(table).flatMap(([key, { default: byDefault, description }]) => {
    const text = help.boxWrap(description, width).replace(/^/gm, " ".repeat(HELP_INDENT));
    return [`  ${environmentName(key)}${byDefault === "" ? "" : ` [${byDefault}]`}`, text];
  });
  return ["", "Settings, from the environment [default]:", ...lines].join("\n");
}

/** For an option that takes a whole number from 1. */
export function parseWholeNumber(text: string): number {
  if (!/^[1-9]\d{0,9}$/.test(text)) {
    throw new InvalidArgumentError("It takes a whole number from 1.");
  }
  return Number(text);
}

/** For an option that takes the URL of a port of the service. */
export function parseUrl(text: string): string {
  if (!URL.canParse(text) || !/^https?:$/.test(new URL(text).protocol)) {
    throw new InvalidArgumentError("It takes a URL such as http://127.0.0.1:3000.");
  }
  return text;
}
