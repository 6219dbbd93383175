/** Where commands find the running service that they call when the command line does not say it. */
import { type Call, UsageError } from "./command.js";

/** The settings that say where the RPC port is. */
export const SERVICE_URL_SETTINGS = ["statsUrl", "host", "port", "tlsCertFile"] as const;

export type ServiceUrlSetting = (typeof SERVICE_URL_SETTINGS)[number];

/** Addresses that stand for all of the machine's, and one that can be connected to. */
const LOOPBACK: Readonly<Record<string, string>> = { "0.0.0.0": "127.0.0.1", "::": "127.0.0.1" };

/** A URL of a port that listens on `host`, for callers on this machine. */
export function urlOf(scheme: "http" | "https", host: string, port: number): string {
  const address = LOOPBACK[host] ?? host;
  return `${scheme}://${address.includes(":") ? `[${address}]` : address}:${port}`;
}

/** @throws UsageError when the setting leaves the port to the system */
export function checkFixedPort(port: number, setting: string, option: string): void {
  if (port === 0) {
    throw new UsageError(
      `${setting} is 0, so only the service knows its port: take it from its log line "ready", as ${option}`,
    );
  }
}

/** STATS_URL, or the RPC port of a service with the same settings on this machine. */
export function serviceUrl(read: Call<object, ServiceUrlSetting>["read"]): string {
  const { statsUrl } = read("statsUrl");
  if (statsUrl !== undefined) {
    return statsUrl;
  }
  const { host, port, tlsCertFile } = read("host", "port", "tlsCertFile");
  checkFixedPort(port, "PORT", "--url");
  return urlOf(tlsCertFile === undefined ? "http" : "https", host, port);
}
