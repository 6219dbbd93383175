/**
 * IP addresses in PostgreSQL's binary `inet` form: writes and reads them, and never looks an address up.
 *
 * Format (PostgreSQL's src/backend/utils/adt/network.c, network_send): one byte each of family (2 for IPv4,
 * 3 for IPv6), prefix length in bits, 1 if the value is a `cidr`, and length of the address in bytes; then the
 * address.
 */
import { isIP } from "node:net";
import ipaddr from "ipaddr.js";

const FAMILY_IPV4 = 2;
const FAMILY_IPV6 = 3;
const IPV4_BYTES = 4;
const IPV6_BYTES = 16;
const HEADER_BYTES = 4;
const BITS_PER_BYTE = 8;
/** Bits that {@link truncateInet} keeps: enough for a place and a provider, not for a person. */
const IPV4_KEPT_BITS = 24;
const IPV6_KEPT_BITS = 48;
/** ::1.2.3.4 is an address of its own, and PostgreSQL has it so; ipaddr.js reads it as ::ffff:1.2.3.4. */
const IPV4_COMPATIBLE = /^::(?=\d+\.)/;

/** The text is no IPv4 or IPv6 address, or the bytes are no `inet` value. */
export class InvalidAddressError extends Error {
  override readonly name = "InvalidAddressError";
}

/**
 * The bytes of one host address: 8 for IPv4, 20 for IPv6.
 *
 * An IPv4-mapped address (::ffff:1.2.3.4, as a dual-stack socket reports its IPv4 peers) becomes the IPv4
 * address; a zone (fe80::1%eth0) is dropped, because `inet` cannot hold it.
 *
 * @throws {InvalidAddressError} if `address` is anything but the usual text form; inet_aton's short, octal and
 * hexadecimal forms are refused too, since `inet` refuses them.
 */
export function encodeInet(address: string): Uint8Array {
  if (isIP(address) === 0) {
    throw new InvalidAddressError(`not an IP address: ${JSON.stringify(address)}`);
  }
  // The zone first: what may be in one, ipaddr.js and Node do not agree on.
  const [withoutZone = ""] = address.split("%", 1);
  const octets = ipaddr.process(withoutZone.replace(IPV4_COMPATIBLE, "::0:")).toByteArray();
  const family = octets.length === IPV4_BYTES ? FAMILY_IPV4 : FAMILY_IPV6;
  return Uint8Array.from([family, octets.length * BITS_PER_BYTE, 0, octets.length, ...octets]);
}

/** The network that a host address is in: /24 for IPv4, /48 for IPv6. Takes and gives what {@link encodeInet} writes. */
export function truncateInet(inet: Uint8Array): Uint8Array {
  const keptBits = inet[0] === FAMILY_IPV4 ? IPV4_KEPT_BITS : IPV6_KEPT_BITS;
  const network = inet.slice().fill(0, HEADER_BYTES + keptBits / BITS_PER_BYTE);
  network[1] = keptBits;
  return network;
}

/**
 * The text of an `inet` value: dotted for IPv4, RFC 5952 for IPv6, with "/bits" only where it is a network.
 *
 * @throws {InvalidAddressError} if `bytes` are not such a value.
 */
export function decodeInet(bytes: Uint8Array): string {
  const [family, bits, , length] = bytes;
  const wanted = family === FAMILY_IPV4 ? IPV4_BYTES : family === FAMILY_IPV6 ? IPV6_BYTES : undefined;
  if (
    wanted === undefined ||
    bits === undefined ||
    length !== wanted ||
    bytes.length !== HEADER_BYTES + wanted
  ) {
    throw new InvalidAddressError(`not an inet value: ${Buffer.from(bytes).toString("hex")}`);
  }
  const text = ipaddr.fromByteArray([...bytes.subarray(HEADER_BYTES)]).toString();
  return bits === wanted * BITS_PER_BYTE ? text : `${text}/${bits}`;
}
