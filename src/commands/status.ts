/** The command `status`: asks a running service how it is, over its admin port. */
import { systemClock } from "../clock.js";
import type { Config } from "../config.js";
import { messageOf } from "../error-message.js";
import type { ServiceStatus } from "../status/service-status.js";
import { describeStatus } from "./describe-status.js";
import { print } from "./print.js";

export interface StatusOptions {
  readonly json: boolean;
  /** Of the admin port; undefined: the one that HOST and ADMIN_PORT say. */
  readonly adminUrl: string | undefined;
}

const EXIT_READY = 0;
const EXIT_NOT_READY = 1;
const EXIT_USAGE = 2;
/** EX_UNAVAILABLE of sysexits.h: nobody answers. */
const EXIT_UNREACHABLE = 69;
/** The service itself takes two seconds when its database does not answer. */
const TIMEOUT_MS = 10_000;

/** Addresses that stand for all of the machine's, and one that can be connected to. */
const LOOPBACK: Readonly<Record<string, string>> = { "0.0.0.0": "127.0.0.1", "::": "::1" };

/** Resolves with the exit status: 0 ready, 1 not ready or not alive, 69 when nobody answers. */
export async function statusCommand(config: Config, { json, adminUrl }: StatusOptions): Promise<number> {
  const base = adminUrl ?? adminUrlOf(config);
  if (base === undefined) {
    complain(
      'ADMIN_PORT is 0, so only the service knows its port: take it from its log line "ready", as --admin-url',
    );
    return EXIT_USAGE;
  }
  let status: ServiceStatus;
  try {
    status = await fetchStatus(new URL("/status", base));
  } catch (error) {
    complain(`no service answers at ${base}: ${messageOf((error as { cause?: unknown }).cause ?? error)}`);
    return EXIT_UNREACHABLE;
  }
  print(json ? [JSON.stringify(status)] : describeStatus(status, systemClock.now()));
  return status.liveness.ok && status.readiness.ok ? EXIT_READY : EXIT_NOT_READY;
}

function adminUrlOf({ host, adminPort }: Config): string | undefined {
  const address = LOOPBACK[host] ?? host;
  return adminPort === 0
    ? undefined
    : `http://${address.includes(":") ? `[${address}]` : address}:${adminPort}`;
}

async function fetchStatus(url: URL): Promise<ServiceStatus> {
  const response = await fetch(url, { signal: AbortSignal.timeout(TIMEOUT_MS) });
  if (!response.ok) {
    throw new Error(`${url.href} answers ${response.status}; is it the admin port of a stats-service?`);
  }
  return (await response.json()) as ServiceStatus;
}

function complain(message: string): void {
  process.stderr.write(`stats-service: ${message}\n`);
}
