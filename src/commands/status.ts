/** The command `status`: asks a running service how it is, over its admin port. */

import type { Config } from "../config.js";
import type { ServiceStatus } from "../telemetry/service-status.js";
import { systemClock } from "../util/clock.js";
import { messageOf } from "../util/error-message.js";
import type { Command, CommandLine } from "./command.js";
import { describeStatus } from "./describe-status.js";
import { EXIT_UNREACHABLE, EXIT_USAGE } from "./exit-status.js";
import { fetchStatus } from "./fetch-status.js";
import { complain, print } from "./print.js";
import { UsageError } from "./usage-error.js";

/** Addresses that stand for all of the machine's, and one that can be connected to. */
const LOOPBACK: Readonly<Record<string, string>> = { "0.0.0.0": "127.0.0.1", "::": "::1" };

export const statusCommand: Command = {
  run: showStatus,
  description: "ask a running service how it is: exits with 0 if ready, 1 if not, 69 if none answers",
  options: {
    "admin-url": {
      type: "string",
      placeholder: "URL",
      description: "its admin port; by default at HOST and ADMIN_PORT",
    },
    json: { type: "boolean", description: "all of it as a line of JSON" },
  },
};

/** Resolves with the exit status: 0 ready, 1 not ready or not alive, 69 when nobody answers. */
async function showStatus(config: Config, { options }: CommandLine): Promise<number> {
  const base = readUrl(options["admin-url"]) ?? adminUrlOf(config);
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
  print(options.json === true ? [JSON.stringify(status)] : describeStatus(status, systemClock.now()));
  return status.liveness.ok && status.readiness.ok ? 0 : 1;
}

function readUrl(text: string | boolean | undefined): string | undefined {
  if (typeof text !== "string") {
    return undefined;
  }
  if (!URL.canParse(text) || !/^https?:$/.test(new URL(text).protocol)) {
    throw new UsageError("--admin-url takes a URL such as http://127.0.0.1:3001");
  }
  return text;
}

function adminUrlOf({ host, adminPort }: Config): string | undefined {
  const address = LOOPBACK[host] ?? host;
  return adminPort === 0
    ? undefined
    : `http://${address.includes(":") ? `[${address}]` : address}:${adminPort}`;
}
