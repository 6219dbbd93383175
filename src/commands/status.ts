/** The command `status`: asks a running service how it is, over its admin port. */
import type { Settings } from "../config.js";
import type { ServiceStatus } from "../telemetry/service-status.js";
import { systemClock } from "../util/clock.js";
import { messageOf } from "../util/error-message.js";
import { type Call, type CommandDefinition, EXIT_UNREACHABLE, EXIT_USAGE, parseUrl } from "./command.js";
import { describeStatus } from "./describe-status.js";
import { fetchStatus } from "./fetch-status.js";
import { complain, print } from "./print.js";
import { urlOf } from "./service-url.js";

const SETTINGS = ["host", "adminPort"] as const;

interface StatusOptions {
  readonly adminUrl?: string;
  readonly json?: boolean;
}

export const defineStatus: CommandDefinition = (command, line) => {
  command
    .description(
      "Show the state of a running service: health, queue, spool, last flush, database.\n\n" +
        "Ends with 0 if it is ready, 1 if it is not, 69 if no service answers.",
    )
    .option("--admin-url <URL>", "its admin port (default: the one at HOST and ADMIN_PORT)", parseUrl)
    .option("--json", "all of it as one line of JSON");
  line.runs(command, SETTINGS, showStatus);
};

async function showStatus({
  options: { adminUrl, json },
  read,
}: Call<StatusOptions, (typeof SETTINGS)[number]>): Promise<number> {
  const base = adminUrl ?? adminUrlOf(read(...SETTINGS));
  if (base === undefined) {
    complain(
      'ADMIN_PORT is 0, so only the service knows its port: take it from its log line "ready", as --admin-url',
    );
    return EXIT_USAGE;
  }
  let status: ServiceStatus;
  try {
    status = await fetchStatus(base);
  } catch (error) {
    complain(`no service answers at ${base}: ${messageOf((error as { cause?: unknown }).cause ?? error)}`);
    return EXIT_UNREACHABLE;
  }
  print(json === true ? [JSON.stringify(status)] : describeStatus(status, systemClock.now()));
  return status.liveness.ok && status.readiness.ok ? 0 : 1;
}

function adminUrlOf({ host, adminPort }: Pick<Settings, (typeof SETTINGS)[number]>): string | undefined {
  return adminPort === 0 ? undefined : urlOf("http", host, adminPort);
}
