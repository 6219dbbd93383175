/** Who can reach an address, and whether that needs a warning; it opens nothing. */
import ipaddr from "ipaddr.js";
import type { Logger } from "pino";

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

/** Says so when others than this machine can reach the service and nothing asks them who they are. */
export function warnIfExposed({ host, authTokensFile, tlsClientCaFile }: Exposure, logger: Logger): void {
  if (!isLoopback(host) && authTokensFile === undefined && tlsClientCaFile === undefined) {
    logger.warn(
      { host },
      "anyone who can reach HOST may push events: set AUTH_TOKENS_FILE to ask callers for a token",
    );
  }
}
