/** Where commands find the running service that they call when the command line does not say it. */
import type { Settings } from "../config.js";
import type { Call } from "./command.js";

/** The settings that say where the RPC port is. */
export const SERVICE_URL_SETTINGS = ["statsUrl", "host", "port", "tlsCertFile"] as const;

export type ServiceUrlSetting = (typeof SERVICE_URL_SETTINGS)[number];

/** Addresses that stand for all of the machine's, and one that can be connected to. */
const LOOPBACK: Readonly<Record<string, string>> = { "0.0.0.0": "127.0.0.1", "::": "::1" };

/** A URL of a port that listens on `host`, from this machine. */
export function urlOf(scheme: "http" | "https", host: string, port: number): string {
  const address = LOOPBACK[host] ?? host;
  return `${scheme}://${address.includes(":") ? `[${address}]` : address}:${port}`;
}

/** STATS_URL, or the RPC port of a service with the same settings on this machine. */
export function serviceUrl(read: Call<object, ServiceUrlSetting>["read"]): string {
  return read("statsUrl").statsUrl ?? localUrl(read("host", "port", "tlsCertFile"));
}

function localUrl({ host, port, tlsCertFile }: Pick<Settings, "host" | "port" | "tlsCertFile">): string {
  return urlOf(tlsCertFile === undefined ? "http" : "https", host, port);
}
