/** The command line: finds the command that is called, loads it, and words what goes wrong; it does no work itself. */
import { Command, CommanderError } from "commander";
import { type CommandDefinition, CommandLine, EXIT_USAGE } from "./commands/command.js";
import { ConfigError } from "./config/setting.js";
import type { EarlySignals } from "./util/early-signals.js";
import { version } from "./util/package-info.js";

interface Registration {
  readonly name: string;
  /** In the list of commands; the definition has the whole description. */
  readonly summary: string;
  readonly load: () => Promise<CommandDefinition>;
}

/**
 * To add a command, write its definition in a file of src/commands and register it here. Only what the command line names
 * is loaded: `status` need not wait for a server's code.
 */
const COMMANDS: Readonly<Record<string, readonly Registration[]>> = {
  "Run the service:": [
    {
      name: "serve",
      summary: "run the service (also without a command)",
      load: async () => (await import("./commands/serve.js")).defineServe,
    },
    {
      name: "migrate",
      summary: "bring a database to the schema of this version",
      load: async () => (await import("./commands/migrate.js")).defineMigrate,
    },
  ],
  "Use a running service:": [
    {
      name: "status",
      summary: "show the state of a running service",
      load: async () => (await import("./commands/status.js")).defineStatus,
    },
    {
      name: "push",
      summary: "send events to a running service",
      load: async () => (await import("./commands/push.js")).definePush,
    },
    {
      name: "counts",
      summary: "show what was counted, over time or as a list of the highest",
      load: async () => (await import("./commands/counts.js")).defineCounts,
    },
  ],
  "Look after it:": [
    {
      name: "labels",
      summary: "import the names that stand for numbers",
      load: async () => (await import("./commands/labels.js")).defineLabels,
    },
    {
      name: "dead",
      summary: "list and replay the events that PostgreSQL refused",
      load: async () => (await import("./commands/dead.js")).defineDead,
    },
    {
      name: "retention",
      summary: "show or remove what is older than RETENTION_DAYS",
      load: async () => (await import("./commands/retention.js")).defineRetention,
    },
    {
      name: "token",
      summary: "create, list and revoke the tokens that callers need",
      load: async () => (await import("./commands/token.js")).defineToken,
    },
  ],
};

/** Runs one command and resolves with the exit status. */
export async function runCli(
  args: readonly string[],
  environment: Readonly<Record<string, string | undefined>>,
  signals: EarlySignals,
): Promise<number> {
  const line = new CommandLine(environment, signals);
  try {
    const program = await createProgram(args, line);
    await program.parseAsync(args.length === 0 ? ["serve"] : args, { from: "user" });
    return line.exitStatus;
  } catch (error) {
    if (error instanceof CommanderError) {
      // It has said what is wrong, or printed what it was asked for.
      return error.exitCode === 0 ? 0 : EXIT_USAGE;
    }
    if (error instanceof ConfigError) {
      process.stderr.write(`stats-service: ${error.message}\n`);
      return EXIT_USAGE;
    }
    throw error;
  }
}

async function createProgram(args: readonly string[], line: CommandLine): Promise<Command> {
  const program = new Command("stats-service")
    .description(
      `Counts tiny events: takes them over Connect, gRPC and gRPC-Web, writes them to PostgreSQL in bulk.`,
    )
    .version(version, "-v, --version", "show the version")
    .helpOption("-h, --help", "show help")
    .usage("[command] [options]")
    .exitOverride()
    .showHelpAfterError("Try: stats-service --help")
    .configureOutput({
      outputError: (text, write) => write(text.replace(/^error: /, "stats-service: ")),
    });
  for (const [heading, commands] of Object.entries(COMMANDS)) {
    for (const { name, summary, load } of commands) {
      const command = program.command(name).summary(summary).helpGroup(heading);
      command.showHelpAfterError(`Try: stats-service ${name} --help`);
      if (args.includes(name) || (args.length === 0 && name === "serve")) {
        (await load())(command, line);
      }
    }
  }
  return program
    .commandsGroup("Help:")
    .helpCommand("help [command]", "show help of a command")
    .addHelpText(
      "after",
      "\nHelp of a command: stats-service push --help\nSettings come from the environment; serve --help shows those of the service.",
    );
}
