/** The command line: finds the command, reads the settings, and words what goes wrong; it does no work itself. */
import { parseArgs } from "node:util";
import { migrateCommand } from "./commands/migrate.js";
import { serveCommand } from "./commands/serve.js";
import { type Config, ConfigError, loadConfig, settingDocs } from "./config.js";
import { defaultDataDir } from "./data-dir.js";
import { messageOf } from "./error-message.js";
import { version } from "./package-info.js";

/** Exit statuses. */
export const EXIT_OK = 0;
export const EXIT_FAILED = 1;
/** The command line or a setting is wrong. */
export const EXIT_USAGE = 2;

/** Runs with the settings; resolves with an exit status, never rejects. */
type Command = (config: Config) => Promise<number>;

const COMMANDS: Readonly<Record<string, { run: Command; description: string }>> = {
  serve: { run: serveCommand, description: "run the service (the default)" },
  migrate: {
    run: migrateCommand,
    description: "bring the database at DATABASE_URL to this version's schema",
  },
};

/** Runs one command and resolves with the exit status. */
export async function runCli(
  args: readonly string[],
  environment: Readonly<Record<string, string | undefined>>,
): Promise<number> {
  let parsed: ReturnType<typeof parse>;
  try {
    parsed = parse(args);
  } catch (error) {
    return usageError(messageOf(error));
  }
  if (parsed.values.help === true) {
    process.stdout.write(helpText());
    return EXIT_OK;
  }
  if (parsed.values.version === true) {
    process.stdout.write(`${version}\n`);
    return EXIT_OK;
  }
  const [name = "serve", ...rest] = parsed.positionals;
  const command = COMMANDS[name];
  if (command === undefined || rest.length > 0) {
    return usageError(`unknown command: ${parsed.positionals.join(" ")}`);
  }
  try {
    return await command.run(
      loadConfig({ ...environment, DATA_DIR: environment.DATA_DIR || defaultDataDir() }),
    );
  } catch (error) {
    if (error instanceof ConfigError) {
      process.stderr.write(`stats-service: ${error.message}\n`);
      return EXIT_USAGE;
    }
    throw error;
  }
}

function parse(args: readonly string[]) {
  return parseArgs({
    args: [...args],
    allowPositionals: true,
    options: { help: { type: "boolean", short: "h" }, version: { type: "boolean", short: "v" } },
  });
}

function usageError(message: string): number {
  process.stderr.write(`stats-service: ${message}\nTry: stats-service --help\n`);
  return EXIT_USAGE;
}

function helpText(): string {
  const commands = Object.entries(COMMANDS).map(
    ([name, { description }]) => `  ${name.padEnd(9)} ${description}`,
  );
  const settings = settingDocs.map((setting) => {
    const byDefault = setting.default === "" ? "" : ` [${setting.default}]`;
    return `  ${setting.name}${byDefault}\n      ${setting.description}`;
  });
  return [
    `stats-service ${version}: takes tiny events over Connect, gRPC and gRPC-Web, writes them to PostgreSQL in bulk`,
    "",
    "Usage: stats-service [command]",
    "",
    "Commands:",
    ...commands,
    "",
    "Options:",
    "  -h, --help     this text",
    "  -v, --version  the version",
    "",
    "Settings, from the environment [default]:",
    ...settings,
    "",
  ].join("\n");
}
