/** Asks a running service how it is, over its admin port; it shows nothing. */
import { get as getHttp } from "node:http";
import { get as getHttps } from "node:https";
import { text } from "node:stream/consumers";
import type { ServiceStatus } from "../telemetry/service-status.js";

/** The service itself takes two seconds when its database does not answer. */
const TIMEOUT_MS = 10_000;

/** The parts that every status has. */
const PARTS: readonly (keyof ServiceStatus)[] = ["liveness", "readiness", "events", "queue", "flush"];

/**
 * Asks the admin port at `base`, a URL that may have a path.
 *
 * @throws Error that says in a line why there is no status.
 */
export async function fetchStatus(base: string): Promise<ServiceStatus> {
  const url = new URL("status", base.endsWith("/") ? base : `${base}/`);
  const { code, body } = await request(url);
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
function request(url: URL): Promise<{ code: number | undefined; body: string }> {
  const get = url.protocol === "https:" ? getHttps : getHttp;
  return new Promise((resolve, reject) => {
    get(url, { signal: AbortSignal.timeout(TIMEOUT_MS) }, (response) => {
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
