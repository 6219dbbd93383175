/** The command line: finds the command, reads the settings, and words what goes wrong; it does no work itself. */
import { parseArgs } from "node:util";
import type { Command, CommandLine, CommandOption } from "./commands/command.js";
import { defaultDataDir } from "./commands/data-dir.js";
import { EXIT_USAGE } from "./commands/exit-status.js";
import { UsageError } from "./commands/usage-error.js";
import { ConfigError, loadConfig, settingDocs } from "./config.js";
import { messageOf } from "./util/error-message.js";
import { version } from "./util/package-info.js";

/** By name; a name may have two words. Each is loaded when it is called: `status` need not wait for a server's code. */
const COMMANDS: ReadonlyMap<string, () => Promise<Command>> = new Map(
  Object.entries({
    serve: async () => (await import("./commands/serve.js")).serveCommand,
    migrate: async () => (await import("./commands/migrate.js")).migrateCommand,
    status: async () => (await import("./commands/status.js")).statusCommand,
    push: async () => (await import("./commands/push.js")).pushCommand,
    "dead list": async () => (await import("./commands/dead.js")).deadListCommand,
    "dead replay": async () => (await import("./commands/dead.js")).deadReplayCommand,
    retention: async () => (await import("./commands/retention.js")).retentionCommand,
    "token create": async () => (await import("./commands/token.js")).tokenCreateCommand,
    "token list": async () => (await import("./commands/token.js")).tokenListCommand,
    "token revoke": async () => (await import("./commands/token.js")).tokenRevokeCommand,
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
    const { command, rest } = await findCommand(args);
    const { options, operands } = parse(rest, command);
    if (options.help === true) {
      process.stdout.write(await helpText());
      return 0;
    }
    if (options.version === true) {
      process.stdout.write(`${version}\n`);
      return 0;
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
async function findCommand(args: readonly string[]): Promise<{ command: Command; rest: readonly string[] }> {
  const firstOption = args.findIndex((arg) => arg.startsWith("-"));
  const words = firstOption === -1 ? args : args.slice(0, firstOption);
  const [first = "serve", second] = words;
  const twoWords = COMMANDS.get(`${first} ${second}`);
  const command = await (twoWords ?? COMMANDS.get(first))?.();
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

async function helpText(): Promise<string> {
  const settings = settingDocs.map((setting) => {
    const byDefault = setting.default === "" ? "" : ` [${setting.default}]`;
    return `  ${setting.name}${byDefault}\n      ${setting.description}`;
  });
  const commands = await Promise.all(
    [...COMMANDS].map(async ([name, load]) => describeCommand(name, await load())),
  );
  return [
    `stats-service ${version}: takes tiny events over Connect, gRPC and gRPC-Web, writes them to PostgreSQL in bulk`,
    "",
    "Usage: stats-service [command] [options]",
    "",
    "Commands:",
    ...commands.flat(),
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
