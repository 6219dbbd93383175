/** The command line: finds the command, reads the settings, and words what goes wrong; it does no work itself. */
import { parseArgs } from "node:util";
import type { Command, CommandLine, CommandOption } from "./commands/command.js";
import { deadCommands } from "./commands/dead.js";
import { migrateCommand } from "./commands/migrate.js";
import { pushCommand } from "./commands/push.js";
import { retentionCommand } from "./commands/retention.js";
import { serveCommand } from "./commands/serve.js";
import { statusCommand } from "./commands/status.js";
import { tokenCommands } from "./commands/token.js";
import { ConfigError, loadConfig, settingDocs } from "./config.js";
import { defaultDataDir } from "./data-dir.js";
import { messageOf } from "./error-message.js";
import { version } from "./package-info.js";
import { UsageError } from "./usage-error.js";

const EXIT_OK = 0;
/** The command line or a setting is wrong. */
const EXIT_USAGE = 2;

/** By name; a name may have two words. */
const COMMANDS: ReadonlyMap<string, Command> = new Map(
  Object.entries<Command>({
    serve: { run: serveCommand, description: "run the service (the default)" },
    migrate: {
      run: migrateCommand,
      description: "bring the database at DATABASE_URL to this version's schema",
    },
    status: statusCommand,
    push: pushCommand,
    ...deadCommands,
    retention: retentionCommand,
    ...tokenCommands,
  }),
);

/** Options of every command. */
const COMMON_OPTIONS = {
  help: { type: "boolean", short: "h" },
  version: { type: "boolean", short: "v" },
} as const;

/** Runs one command and resolves with the exit status. */
export async function runCli(
  args: readonly string[],
  environment: Readonly<Record<string, string | undefined>>,
): Promise<number> {
  try {
    const { command, rest } = findCommand(args);
    const { options, operands } = parse(rest, command);
    if (options.help === true) {
      process.stdout.write(helpText());
      return EXIT_OK;
    }
    if (options.version === true) {
      process.stdout.write(`${version}\n`);
      return EXIT_OK;
    }
    const config = loadConfig({ ...environment, DATA_DIR: environment.DATA_DIR || defaultDataDir() });
    return await command.run(config, { options, operands, environment });
  } catch (error) {
    if (error instanceof UsageError || error instanceof ConfigError) {
      const hint = error instanceof UsageError ? "Try: stats-service --help\n" : "";
      process.stderr.write(`stats-service: ${error.message}\n${hint}`);
      return EXIT_USAGE;
    }
    throw error;
  }
}

/** The command that the first words name, and what follows them. */
function findCommand(args: readonly string[]): { command: Command; rest: readonly string[] } {
  const firstOption = args.findIndex((arg) => arg.startsWith("-"));
  const words = firstOption === -1 ? args : args.slice(0, firstOption);
  const [first = "serve", second] = words;
  const twoWords = COMMANDS.get(`${first} ${second}`);
  const command = twoWords ?? COMMANDS.get(first);
  const wordCount = Math.min(words.length, twoWords === undefined ? 1 : 2);
  if (command === undefined || (words.length > wordCount && command.operands === undefined)) {
    throw new UsageError(`unknown command: ${words.join(" ")}`);
  }
  return { command, rest: args.slice(wordCount) };
}

function parse(
  args: readonly string[],
  { options = {}, operands }: Command,
): Omit<CommandLine, "environment"> {
  try {
    const { values, positionals } = parseArgs({
      args: [...args],
      allowPositionals: operands !== undefined,
      options: { ...COMMON_OPTIONS, ...options },
    });
    return { options: values as CommandLine["options"], operands: positionals };
  } catch (cause) {
    throw new UsageError(messageOf(cause), { cause });
  }
}

function helpText(): string {
  const settings = settingDocs.map((setting) => {
    const byDefault = setting.default === "" ? "" : ` [${setting.default}]`;
    return `  ${setting.name}${byDefault}\n      ${setting.description}`;
  });
  return [
    `stats-service ${version}: takes tiny events over Connect, gRPC and gRPC-Web, writes them to PostgreSQL in bulk`,
    "",
    "Usage: stats-service [command] [options]",
    "",
    "Commands:",
    ...[...COMMANDS].flatMap(([name, command]) => describeCommand(name, command)),
    "",
    "Options of all:",
    "  -h, --help     this text",
    "  -v, --version  the version",
    "",
    "Settings, from the environment [default]:",
    ...settings,
    "",
  ].join("\n");
}

function describeCommand(name: string, { operands = "", description, options = {} }: Command): string[] {
  return [
    `  ${`${name} ${operands}`.padEnd(21)} ${description}`,
    ...Object.entries(options).map(
      ([option, doc]) => `      ${describeOption(option, doc).padEnd(22)} ${doc.description}`,
    ),
  ];
}

function describeOption(name: string, { placeholder }: CommandOption): string {
  return `--${name}${placeholder === undefined ? "" : ` ${placeholder}`}`;
}
