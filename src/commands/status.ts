/** The command `status`: asks a running service how it is, over its admin port. */
import { get as getHttp } from "node:http";
import { get as getHttps } from "node:https";
import { text } from "node:stream/consumers";
import type { Settings } from "../config/command-settings.js";
import type { ServiceStatus } from "../telemetry/service-status.js";
import { systemClock } from "../util/clock.js";
import { messageOf } from "../util/error-message.js";
import { type Call, type CommandDefinition, EXIT_UNREACHABLE, parseUrl } from "./command.js";
import { describeStatus } from "./describe-status.js";
import { complain, print } from "./print.js";
import { checkFixedPort, urlOf } from "./service-url.js";

/** The service itself takes two seconds when its database does not answer. */
const TIMEOUT_MS = 10_000;

/** The parts that every status has. */
const PARTS: readonly (keyof ServiceStatus)[] = ["liveness", "readiness", "events", "queue", "flush"];

const ADMIN_SETTINGS = ["adminHost", "host", "adminPort"] as const;
const BUFFER_SETTINGS = ["bufferUrl", "bufferCredentialsFile", "bufferStream"] as const;
const SETTINGS = [...ADMIN_SETTINGS, ...BUFFER_SETTINGS] as const;

interface StatusOptions {
  readonly adminUrl?: string;
  readonly json?: boolean;
  readonly cluster?: boolean;
}

export const defineStatus: CommandDefinition = (command, line) => {
  command
    .description(
      "Show the state of a running service: health, queue, buffer, last flush, database.\n\n" +
        "With --cluster it adds up the books of all processes that share the buffer at BUFFER_URL, and what is in it.\n\n" +
        "Ends with 0 if it is ready, 1 if it is not, 69 if no service answers. With --cluster: 0 if all books are known and " +
        "no event is missing, 1 if not, 69 if NATS does not answer.",
    )
    .option("--admin-url <URL>", "its admin port (default: the one at ADMIN_HOST and ADMIN_PORT)", parseUrl)
    .option("--cluster", "all processes that share the buffer at BUFFER_URL")
    .option("--json", "all of it as one line of JSON");
  line.runs(command, SETTINGS, showStatus);
};

async function showStatus({
  options: { adminUrl, json, cluster },
  read,
}: Call<StatusOptions, (typeof SETTINGS)[number]>): Promise<number> {
  if (cluster === true) {
    const { showCluster } = await import("./status-cluster.js");
    return showCluster(read(...BUFFER_SETTINGS), json === true);
  }
  const base = adminUrl ?? adminUrlOf(read(...ADMIN_SETTINGS));
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

function adminUrlOf({ adminHost, host, adminPort }: Pick<Settings, (typeof ADMIN_SETTINGS)[number]>): string {
  checkFixedPort(adminPort, "ADMIN_PORT", "--admin-url");
  return urlOf("http", adminHost ?? host, adminPort);
}

/**
 * Asks the admin port at `base`, a URL that may have a path.
 *
 * @throws Error that says in a line why there is no status.
 */
export async function fetchStatus(base: string, timeoutMs = TIMEOUT_MS): Promise<ServiceStatus> {
  const url = new URL("status", base.endsWith("/") ? base : `${base}/`);
  const { code, body } = await request(url, timeoutMs);
  if (code !== 200) {
    throw new Error(`${url.href} answers ${code}; is it the admin port of a stats-service?`);
  }
  const status = parse(body);
  if (status === undefined) {
    throw new Error(`what ${url.href} answers is no status; is it the admin port of a stats-service?`);
  }
  return status;
}

/** Not by fetch(), which refuses some ports that a service may well have (https://fetch.spec.whatwg.org/#port-blocking). */
function request(url: URL, timeoutMs: number): Promise<{ code: number | undefined; body: string }> {
  const get = url.protocol === "https:" ? getHttps : getHttp;
  return new Promise((resolve, reject) => {
    get(url, { signal: AbortSignal.timeout(timeoutMs) }, (response) => {
      text(response).then((body) => resolve({ code: response.statusCode, body }), reject);
    }).on("error", reject);
  });
}

function parse(body: string): ServiceStatus | undefined {
  let value: unknown;
  try {
    value = JSON.parse(body);
  } catch {
    return undefined;
  }
  const parts = (value ?? {}) as Readonly<Record<string, unknown>>;
  const isWhole = PARTS.every((part) => typeof parts[part] === "object" && parts[part] !== null);
  return isWhole ? (value as ServiceStatus) : undefined;
}
