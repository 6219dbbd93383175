/** The command line: finds the command, reads the settings, and words what goes wrong; it does no work itself. */
import { parseArgs } from "node:util";
import { deadListCommand, deadReplayCommand } from "./commands/dead.js";
import { migrateCommand } from "./commands/migrate.js";
import { retentionCommand } from "./commands/retention.js";
import { serveCommand } from "./commands/serve.js";
import { statusCommand } from "./commands/status.js";
import { type Config, ConfigError, loadConfig, settingDocs } from "./config.js";
import { defaultDataDir } from "./data-dir.js";
import { messageOf } from "./error-message.js";
import { version } from "./package-info.js";

const EXIT_OK = 0;
/** The command line or a setting is wrong. */
const EXIT_USAGE = 2;

/** What stands on the command line besides the command's name. */
interface CommandLine {
  readonly rest: readonly string[];
  readonly json: boolean;
  readonly limit: number;
  readonly apply: boolean;
  readonly adminUrl: string | undefined;
}

interface Command {
  /** Resolves with an exit status. */
  run(config: Config, line: CommandLine): Promise<number>;
  readonly description: string;
  /** What may follow the name; absent: nothing. */
  readonly operands?: string;
}

/** By name; a name may have two words. */
const COMMANDS: Readonly<Record<string, Command>> = {
  serve: { run: serveCommand, description: "run the service (the default)" },
  status: {
    run: (config, { json, adminUrl }) => statusCommand(config, { json, adminUrl }),
    description: "ask a running service how it is: exits with 0 if ready, 1 if not, 69 if none answers",
  },
  migrate: {
    run: migrateCommand,
    description: "bring the database at DATABASE_URL to this version's schema",
  },
  "dead list": {
    run: (config, { json, limit }) => deadListCommand(config, { ids: [], json, limit }),
    description: "show the events that PostgreSQL refused, newest first",
  },
  "dead replay": {
    run: (config, { rest, json, limit }) => deadReplayCommand(config, { ids: rest, json, limit }),
    description: "try them again: those with the given ids, or all",
    operands: "[id ...]",
  },
  retention: {
    run: (config, { json, apply }) => retentionCommand(config, { json, apply }),
    description: "show what RETENTION_DAYS drops now, or drop it (--apply)",
  },
};

const DEFAULT_LIMIT = 50;

/** Runs one command and resolves with the exit status. */
export async function runCli(
  args: readonly string[],
  environment: Readonly<Record<string, string | undefined>>,
): Promise<number> {
  try {
    const { values, positionals } = parse(args);
    if (values.help === true) {
      process.stdout.write(helpText());
      return EXIT_OK;
    }
    if (values.version === true) {
      process.stdout.write(`${version}\n`);
      return EXIT_OK;
    }
    const { command, rest } = findCommand(positionals);
    const limit = Number(values.limit ?? DEFAULT_LIMIT);
    if (!Number.isInteger(limit) || limit < 1) {
      throw new UsageError("--limit takes a whole number from 1");
    }
    const config = loadConfig({ ...environment, DATA_DIR: environment.DATA_DIR || defaultDataDir() });
    return await command.run(config, {
      rest,
      json: values.json === true,
      limit,
      apply: values.apply === true,
      adminUrl: parseUrl(values["admin-url"]),
    });
  } catch (error) {
    if (error instanceof UsageError || error instanceof ConfigError) {
      const hint = error instanceof UsageError ? "Try: stats-service --help\n" : "";
      process.stderr.write(`stats-service: ${error.message}\n${hint}`);
      return EXIT_USAGE;
    }
    throw error;
  }
}

/** The command line is wrong. */
class UsageError extends Error {
  override readonly name = "UsageError";
}

function parse(args: readonly string[]) {
  try {
    return parseArgs({
      args: [...args],
      allowPositionals: true,
      options: {
        help: { type: "boolean", short: "h" },
        version: { type: "boolean", short: "v" },
        json: { type: "boolean" },
        limit: { type: "string" },
        apply: { type: "boolean" },
        "admin-url": { type: "string" },
      },
    });
  } catch (cause) {
    throw new UsageError(messageOf(cause), { cause });
  }
}

function parseUrl(text: string | undefined): string | undefined {
  if (text !== undefined && !/^https?:$/.test(URL.canParse(text) ? new URL(text).protocol : "")) {
    throw new UsageError("--admin-url takes a URL such as http://127.0.0.1:3001");
  }
  return text;
}

function findCommand(words: readonly string[]): { command: Command; rest: readonly string[] } {
  const [first = "serve", second] = words;
  const twoWords = COMMANDS[`${first} ${second}`];
  const command = twoWords ?? COMMANDS[first];
  const rest = words.slice(twoWords === undefined ? 1 : 2);
  if (command === undefined || (rest.length > 0 && command.operands === undefined)) {
    throw new UsageError(`unknown command: ${words.join(" ")}`);
  }
  return { command, rest };
}

function helpText(): string {
  const commands = Object.entries(COMMANDS).map(([name, { description, operands = "" }]) => {
    return `  ${`${name} ${operands}`.padEnd(21)} ${description}`;
  });
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
    "      --json     with dead, retention and status: JSON, a line for each result",
    `      --limit N  with dead list: how many, ${DEFAULT_LIMIT} by default`,
    "      --apply    with retention: drop it",
    "      --admin-url URL",
    "                 with status: whom to ask, by default the admin port at HOST and ADMIN_PORT",
    "",
    "Settings, from the environment [default]:",
    ...settings,
    "",
  ].join("\n");
}
