/**
 * Who sent a request: the peer of its connection or, behind trusted proxies, whom they name. The walk goes from the
 * nearest proxy outwards and never past one that is not trusted.
 */
import type { IncomingHttpHeaders } from "node:http";
import type { Http2Session } from "node:http2";
import { isIP, type Socket } from "node:net";
import { parse as parseForwarded } from "forwarded-parse";
import proxyAddr from "proxy-addr";
import { decodeInet, encodeInet } from "../event/inet.js";
import type { NodeServerRequest } from "./rpc-handler.js";

/** The peer of a connection that was gone before its address was read: no bytes. Stored as NULL. */
export const UNKNOWN_PEER = new Uint8Array(0);

// A connection lives for many requests; keyed weakly, so that nothing has to be told when it ends.
const addresses = new WeakMap<object, Uint8Array>();

/** What a request came on: a socket that speaks HTTP/1.1, or an HTTP/2 session; undefined if it is gone. */
export type Connection = Socket | Http2Session | undefined;

/** Tells who sent a request, as `encodeInet` writes an address; {@link UNKNOWN_PEER} if that is not known. */
export type CallerAddress = (connection: Connection, headers: IncomingHttpHeaders) => Uint8Array;

/** The connection of a request. */
export function connectionOf(req: NodeServerRequest): Connection {
  // The compatibility layer's req.socket is a Proxy, a new one for each stream; the session is the same object
  // for all of them.
  return "stream" in req ? req.stream.session : req.socket;
}

/**
 * The remote address of a connection, as `encodeInet` writes it; {@link UNKNOWN_PEER} if it is gone or has no IP
 * address. The array is shared by all requests of the connection: do not change it.
 */
export function connectionAddress(connection: Connection): Uint8Array {
  if (connection === undefined) {
    return UNKNOWN_PEER;
  }
  const known = addresses.get(connection);
  if (known !== undefined) {
    return known;
  }
  // A session that is being torn down has no socket any more, whatever its type says.
  const socket: { remoteAddress?: string | undefined } | undefined =
    "socket" in connection ? connection.socket : connection;
  const address = socket?.remoteAddress;
  if (address === undefined) {
    return UNKNOWN_PEER;
  }
  const bytes = encodeInet(address);
  addresses.set(connection, bytes);
  return bytes;
}

/** Headers by which proxies say whom a request is from. Forwarded: RFC 7239. */
export const PROXY_HEADERS = ["x-forwarded-for", "forwarded"] as const;
export type ProxyHeader = (typeof PROXY_HEADERS)[number];

const NAMED_RANGES = ["loopback", "linklocal", "uniquelocal"];

/** Whether this is a name of ranges, an address, or a network such as 10.0.0.0/8. */
export function isProxyRange(text: string): boolean {
  if (NAMED_RANGES.includes(text)) {
    return true;
  }
  const [address = "", bits, ...rest] = text.split("/");
  const bitsMax = { 0: 0, 4: 32, 6: 128 }[isIP(address)] ?? 0;
  // A network of no bits is everybody: that is never what one trusts.
  return (
    bitsMax > 0 &&
    rest.length === 0 &&
    (bits === undefined || (/^\d{1,3}$/.test(bits) && Number(bits) >= 1 && Number(bits) <= bitsMax))
  );
}

/** What a connection's last request with such a header was found to mean. */
interface LastWalk {
  readonly header: string;
  readonly address: Uint8Array;
}

/**
 * Makes the rule for callers behind proxies in `ranges`, each of which passes {@link isProxyRange}.
 *
 * A request from a trusted peer has the address that the peer says it got the request from; if that is a trusted proxy
 * too, what that one says, and so on. Only `header` is read: the other one may be the client's own word, which the proxy
 * passes on. What is no address ends the walk at the last proxy that was trusted.
 */
export function trustProxies(
  ranges: readonly string[],
  header: ProxyHeader = "x-forwarded-for",
): CallerAddress {
  const nodeOf = header === "forwarded" ? forwardedNode : identity;
  const matches = proxyAddr.compile([...ranges]);
  // Our own spelling of the address, so that no two parsers can differ over it.
  const isTrusted = (address: Uint8Array) => address.length > 0 && matches(decodeInet(address), 0);
  const trustedPeers = new WeakMap<NonNullable<Connection>, boolean>();
  // A proxy often sends many requests of one caller over one connection.
  const lastWalks = new WeakMap<NonNullable<Connection>, LastWalk>();

  return (connection, headers) => {
    const peer = connectionAddress(connection);
    if (connection === undefined) {
      return peer;
    }
    let isPeerTrusted = trustedPeers.get(connection);
    if (isPeerTrusted === undefined) {
      isPeerTrusted = isTrusted(peer);
      trustedPeers.set(connection, isPeerTrusted);
    }
    // Node joins fields that come several times, as both of these are meant to be joined.
    const said = isPeerTrusted ? headers[header]?.toString() : undefined;
    if (said === undefined) {
      return peer;
    }
    const last = lastWalks.get(connection);
    if (last?.header === said) {
      return last.address;
    }
    const address = walk(peer, said, nodeOf, isTrusted);
    lastWalks.set(connection, { header: said, address });
    return address;
  };
}

/** The address that stands before those of trusted proxies, seen from the right of a list, where the peer wrote. */
function walk(
  peer: Uint8Array,
  list: string,
  nodeOf: (element: string) => string | undefined,
  isTrusted: (address: Uint8Array) => boolean,
): Uint8Array {
  let address = peer;
  let end = list.length;
  while (end >= 0) {
    // The last comma, quoted or not: what stands left of it may be anybody's, and must not decide how the rest is read.
    const comma = end === 0 ? -1 : list.lastIndexOf(",", end - 1);
    const next = parseNode(nodeOf(list.slice(comma + 1, end).trim()));
    if (next === undefined) {
      return address;
    }
    address = next;
    if (!isTrusted(address)) {
      return address;
    }
    end = comma;
  }
  return address;
}

function identity(element: string): string {
  return element;
}

/** The `for` of an element of Forwarded. */
function forwardedNode(element: string): string | undefined {
  try {
    return parseForwarded(element)[0]?.for;
  } catch {
    return undefined;
  }
}

/** An IPv6 address in brackets, or else an IPv4 address; either may have a port. */
const NODE = /^(?:\[([^[\]]+)\]|([\d.]+))(?::\d{1,5})?$/;

/** The address in "192.0.2.7", "192.0.2.7:80", "2001:db8::1", "[2001:db8::1]" or "[2001:db8::1]:80". */
function parseNode(node: string | undefined): Uint8Array | undefined {
  if (node === undefined) {
    return undefined;
  }
  if (isIP(node) !== 0) {
    return encodeInet(node);
  }
  const [, ipv6 = "", ipv4 = ""] = NODE.exec(node) ?? [];
  if (isIP(ipv6) === 6) {
    return encodeInet(ipv6);
  }
  return isIP(ipv4) === 4 ? encodeInet(ipv4) : undefined;
}
