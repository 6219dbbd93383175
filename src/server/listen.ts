/** Binds a server to its address, words what goes wrong, and warns when others than this machine can reach it. */
import type { AddressInfo, Server } from "node:net";
import ipaddr from "ipaddr.js";
import type { Logger } from "pino";
import { codeOf } from "../util/error-message.js";

/** Where a server listens, and by which settings it was told so. */
export interface ListenTarget {
  readonly host: string;
  /** 0 lets the system choose. */
  readonly port: number;
  /** The setting that holds the host, as the operator writes it. */
  readonly hostSetting: string;
  /** The setting that holds the port. */
  readonly portSetting: string;
}

/** Where a server does listen. */
export interface BoundAddress {
  readonly host: string;
  readonly port: number;
}

/** The server could not listen; the message is one line for the operator. */
export class ListenError extends Error {
  override readonly name = "ListenError";
}

/**
 * Resolves once `server` listens.
 *
 * @throws {ListenError} naming the setting to change; its `cause` is the system's error.
 */
export async function listen(server: Server, target: ListenTarget): Promise<BoundAddress> {
  try {
    await bind(server, target);
  } catch (error) {
    const isWithoutIpv6 = target.host === "::" && codeOf(error) === "EAFNOSUPPORT";
    if (!isWithoutIpv6) {
      throw new ListenError(explain(error as NodeJS.ErrnoException, target), { cause: error });
    }
    // "All addresses" of a machine without IPv6.
    return listen(server, { ...target, host: "0.0.0.0" });
  }
  const { address, port } = server.address() as AddressInfo;
  return { host: address, port };
}

function bind(server: Server, { host, port }: ListenTarget): Promise<void> {
  return new Promise((resolve, reject) => {
    const onError = (error: Error) => {
      server.off("listening", onListening);
      reject(error);
    };
    const onListening = () => {
      server.off("error", onError);
      resolve();
    };
    server.once("error", onError).once("listening", onListening);
    server.listen({ host, port });
  });
}

function explain(error: NodeJS.ErrnoException, target: ListenTarget): string {
  const { host, port, hostSetting, portSetting } = target;
  switch (error.code) {
    case "EADDRINUSE":
      return `${portSetting}: port ${port} on ${host} is in use by another process`;
    case "EACCES":
      return `${portSetting}: no permission to listen on port ${port}`;
    case "EADDRNOTAVAIL":
      return `${hostSetting}: ${host} is not an address of this machine`;
    case "ENOTFOUND":
    case "EAI_AGAIN":
      return `${hostSetting}: ${host} cannot be resolved`;
    default:
      return `${hostSetting}, ${portSetting}: cannot listen on ${host}:${port}: ${error.message}`;
  }
}

/** Whether only this machine can reach a host. A name that is not "localhost" may mean anything. */
export function isLoopback(host: string): boolean {
  return host === "localhost" || (ipaddr.isValid(host) && ipaddr.process(host).range() === "loopback");
}

/** What decides who may call. */
export interface Exposure {
  readonly host: string;
  readonly authTokensFile?: string | undefined;
  readonly tlsClientCaFile?: string | undefined;
}

/** Versions as in `process.versions`. */
export interface NodeVersions {
  readonly node: string;
  readonly nghttp2?: string;
}

/** The first that a caller cannot end by a GOAWAY with an error and a request right behind it, as all of 22 can be. */
const SOUND_NODE_MAJOR = 24;
/** The first version of nghttp2, which is Node's HTTP/2, that a caller cannot end by a few frames (CVE-2026-27135). */
const SOUND_NGHTTP2 = [1, 68, 1] as const;

/** Says so when others than this machine can reach the service and it is open to what it need not be. */
export function warnIfExposed(
  { host, authTokensFile, tlsClientCaFile }: Exposure,
  logger: Logger,
  { node, nghttp2 }: NodeVersions = process.versions,
): void {
  if (isLoopback(host)) {
    return;
  }
  if (authTokensFile === undefined && tlsClientCaFile === undefined) {
    logger.warn(
      { host },
      "anyone who can reach HOST may push events: set AUTH_TOKENS_FILE to ask callers for a token",
    );
  }
  if (Number.parseInt(node, 10) < SOUND_NODE_MAJOR || !isSoundNghttp2(nghttp2)) {
    logger.warn(
      { host, node, nghttp2 },
      "anyone who can reach HOST may crash this version of Node.js by HTTP/2: use the latest 24 or newer",
    );
  }
}

/** Takes "1.68.1". */
function isSoundNghttp2(version = "0"): boolean {
  const parts = version.split(".").map(Number);
  const at = SOUND_NGHTTP2.findIndex((part, i) => parts[i] !== part);
  return at === -1 || Number(parts[at]) > Number(SOUND_NGHTTP2[at]);
}
