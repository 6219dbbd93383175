/** What legal events may consist of, for fast-check; it knows nothing of the code that it is used to test. */
import fc from "fast-check";
import type { IncomingRow } from "./decoded.js";
import { row, uuidv7At } from "./encoded.js";

/** 2000-01-01 in Unix milliseconds, where PostgreSQL's own count of time starts. */
const POSTGRES_EPOCH_MS = Date.UTC(2000, 0, 1);
/** In the year 2285, where microseconds since PostgreSQL's epoch exceed what a double holds exactly. */
const LAST_TIME_MS = POSTGRES_EPOCH_MS + Math.floor(Number.MAX_SAFE_INTEGER / 1000);

/** Times of ids, in Unix milliseconds: all of 1970 to 2285, and around where signs and words change. */
export const anyTimeMs = fc.oneof(
  fc.integer({ min: 0, max: LAST_TIME_MS }),
  fc.integer({ min: Date.UTC(2020, 0), max: Date.UTC(2040, 0) }),
  fc.integer({ min: POSTGRES_EPOCH_MS - 5_000_000, max: POSTGRES_EPOCH_MS + 5_000_000 }),
  fc.constantFrom(0, POSTGRES_EPOCH_MS - 1, POSTGRES_EPOCH_MS, POSTGRES_EPOCH_MS + 1, LAST_TIME_MS),
);

/**
 * A character of all that Unicode has, as `unit: "binary"` of fc.string() means it: that one makes a table of a million
 * of them, in each test file again.
 */
const anyCodePoint = fc
  .oneof(fc.integer({ min: 0, max: 0xd7ff }), fc.integer({ min: 0xe000, max: 0x10ffff }))
  .map((code) => String.fromCodePoint(code));

/** Texts of whatever characters; the bounds count code points. */
export const anyText = (bounds: { minLength?: number; maxLength: number }): fc.Arbitrary<string> =>
  fc.array(anyCodePoint, bounds).map((characters) => characters.join(""));

/** One of the characters of a text. */
export const characterOf = (text: string) => fc.constantFrom(...text.split(""));

const hexDigits = (length: number) =>
  fc.string({ unit: characterOf("0123456789abcdef"), minLength: length, maxLength: length });

/** UUIDv7s, in lower case, whatever their time. */
export function anyUuidv7(timeMs: fc.Arbitrary<number> = anyTimeMs): fc.Arbitrary<string> {
  return fc
    .tuple(timeMs, hexDigits(3), fc.constantFrom("8", "9", "a", "b"), hexDigits(3), hexDigits(12))
    .map(([ms, a, variant, b, c]) => `${uuidv7At(ms).slice(0, 14)}7${a}-${variant}${b}-${c}`);
}

/** Properties that the service accepts. */
export const anyProperty = fc
  .tuple(
    characterOf("abcdefghijklmnopqrstuvwxyz"),
    fc.string({ unit: characterOf("abcdefghijklmnopqrstuvwxyz0123456789_.-"), maxLength: 31 }),
  )
  .map(([first, rest]) => first + rest);

/** Numbers that `section` and `id` may be: uint32 without 0. */
export const anyPositiveUint32 = fc.oneof(
  fc.integer({ min: 1, max: 2 ** 32 - 1 }),
  fc.constantFrom(1, 255, 256, 2 ** 31 - 1, 2 ** 31, 2 ** 32 - 1),
);

/** The one spelling of an address that RFC 5952 recommends, without dots in IPv6. */
export function canonicalIp(address: string): string {
  return address.includes(":") ? new URL(`http://[${address}]`).hostname.slice(1, -1) : address;
}

/** IPv6 addresses, except IPv4 mapped into IPv6: those become IPv4. */
const anyIpv6 = fc
  .ipV6()
  .map(canonicalIp)
  .filter((address) => !address.startsWith("::ffff:"));

/** Addresses of callers in their one spelling: IPv4, IPv6, or not known. */
export const anyRemoteIp: fc.Arbitrary<string | null> = fc.oneof(
  fc.constant(null),
  fc.ipV4(),
  anyIpv6,
  fc.constantFrom("0.0.0.0", "255.255.255.255", "::", "::1", "2001:db8::1"),
);

/** Rows that legal events become. */
export function anyRow(timeMs: fc.Arbitrary<number> = anyTimeMs): fc.Arbitrary<IncomingRow> {
  return fc
    .tuple(anyUuidv7(timeMs), anyProperty, anyPositiveUint32, anyPositiveUint32, anyRemoteIp)
    .map(([id, property, section, itemId, remoteIp]) => row(id, { property, section, itemId, remoteIp }));
}
