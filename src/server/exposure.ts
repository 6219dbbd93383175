/** Who can reach an address; it opens nothing. */
import ipaddr from "ipaddr.js";

/** Whether only this machine can reach a host. A name that is not "localhost" may mean anything. */
export function isLoopback(host: string): boolean {
  return host === "localhost" || (ipaddr.isValid(host) && ipaddr.process(host).range() === "loopback");
}
