/** Where commands find the running service that they call when the command line does not say it. */
import { type Call, UsageError } from "./command.js";

/** The settings that say where the RPC port is. */
export const SERVICE_URL_SETTINGS = ["statsUrl", "host", "port", "tlsCertFile"] as const;

export type ServiceUrlSetting = (typeof SERVICE_URL_SETTINGS)[number];

/** Addresses that stand for all of the machine's, and one that can be connected to. */
const LOOPBACK: Readonly<Record<string, string>> = { "0.0.0.0": "127.0.0.1", "::": "::1" };

/** A port of a service, by its settings. */
interface Port {
  readonly scheme: "http" | "https";
  readonly host: string;
  readonly port: number;
  /** The setting that holds the port. */
  readonly setting: string;
  /** The option that names a URL instead. */
  readonly option: string;
}

/**
 * A URL of a port of a service on this machine.
 *
 * @throws UsageError when the setting leaves the port to the system
 */
export function urlOf({ scheme, host, port, setting, option }: Port): string {
  if (port === 0) {
    throw new UsageError(
      `${setting} is 0, so only the service knows its port: take it from its log line "ready", as ${option}`,
    );
  }
  const address = LOOPBACK[host] ?? host;
  return `${scheme}://${address.includes(":") ? `[${address}]` : address}:${port}`;
}

/** STATS_URL, or the RPC port of a service with the same settings on this machine. */
export function serviceUrl(read: Call<object, ServiceUrlSetting>["read"]): string {
  const { statsUrl } = read("statsUrl");
  if (statsUrl !== undefined) {
    return statsUrl;
  }
  const { host, port, tlsCertFile } = read("host", "port", "tlsCertFile");
  const scheme = tlsCertFile === undefined ? "http" : "https";
  return urlOf({ scheme, host, port, setting: "PORT", option: "--url" });
}
