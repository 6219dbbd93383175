import type { IncomingHttpHeaders } from "node:http";
import type { Socket } from "node:net";
import fc from "fast-check";
import { decodeInet, encodeInet } from "../../../src/event/inet.js";
import { isProxyRange, type ProxyHeader, trustProxies } from "../../../src/server/caller-address.js";

const PEER = "10.0.0.1";

function connectionFrom(remoteAddress: string): Socket {
  return { remoteAddress } as Socket;
}

/** Whom a request is held to be from, of a peer that is trusted like all of 10.0.0.0/8 and 2001:db8:10::/48. */
function callerOf(headers: IncomingHttpHeaders, peer = PEER, header?: ProxyHeader): string {
  return decodeInet(trustProxies(["10.0.0.0/8", "2001:db8:10::/48"], header)(connectionFrom(peer), headers));
}

const xff = (value: string, peer?: string) => callerOf({ "x-forwarded-for": value }, peer);
const forwarded = (value: string, peer?: string) => callerOf({ forwarded: value }, peer, "forwarded");

describe("a peer that is not trusted", () => {
  it.each(["192.0.2.1", "2001:db8::1", "11.0.0.1", "::10.0.0.1", "::ffff:192.0.2.1"])(
    "is the caller, whatever its headers say: %s",
    (peer) => {
      expect(xff("198.51.100.9", peer)).toBe(decodeInet(encodeInet(peer)));
      expect(forwarded("for=198.51.100.9", peer)).toBe(decodeInet(encodeInet(peer)));
    },
  );
});

describe("a trusted peer", () => {
  it.each([PEER, "::ffff:10.0.0.1", "2001:db8:10::1"])("is believed, in any spelling: %s", (peer) => {
    expect(xff("198.51.100.9", peer)).toBe("198.51.100.9");
  });

  it("is the caller itself when it forwards nothing", () => {
    expect(callerOf({})).toBe(PEER);
  });
});

describe("X-Forwarded-For", () => {
  it.each([
    ["one address", "198.51.100.9", "198.51.100.9"],
    ["what the caller itself claims before it", "203.0.113.66, 198.51.100.9", "198.51.100.9"],
    ["trusted proxies on the way", "203.0.113.66, 198.51.100.9, 10.0.0.3,10.0.0.2", "198.51.100.9"],
    ["trusted proxies alone", "10.0.0.3, 10.0.0.2", "10.0.0.3"],
    ["a port", "198.51.100.9:4711", "198.51.100.9"],
    ["IPv6", "2001:db8::7", "2001:db8::7"],
    ["IPv6 in brackets", "[2001:db8::7]", "2001:db8::7"],
    ["IPv6 with a port", "[2001:db8::7]:4711", "2001:db8::7"],
    ["an IPv6 proxy on the way", "198.51.100.9, [2001:db8:10::2]:80", "198.51.100.9"],
    ["an IPv4-mapped address", "::ffff:198.51.100.9", "198.51.100.9"],
    ["an IPv4-mapped proxy on the way", "198.51.100.9, ::ffff:10.0.0.2", "198.51.100.9"],
    ["blanks and tabs", "\t198.51.100.9 ,\t10.0.0.2  ", "198.51.100.9"],
  ])("is read: %s", (_name, header, caller) => {
    expect(xff(header)).toBe(caller);
  });

  it.each([
    "",
    ",",
    "unknown",
    "_hidden",
    "localhost",
    "198.51.100.9:port",
    "198.51.100.9:123456",
    "198.51.100.9.",
    "0x0a000001",
    "198.051.100.9",
    "[198.51.100.9]",
    "[2001:db8::7",
    "2001:db8::7]:80",
    '"198.51.100.9"',
    "198.51.100.9 10.0.0.2",
    "198.51.100.9/32",
    "::g",
  ])("ends at the last trusted proxy where it is no address: %j", (nonsense) => {
    expect(xff(`198.51.100.9, ${nonsense}`)).toBe(PEER);
    expect(xff(`198.51.100.9, ${nonsense}, 10.0.0.2`)).toBe("10.0.0.2");
  });
});

describe("Forwarded", () => {
  it.each([
    ["one element", "for=198.51.100.9", "198.51.100.9"],
    ["other parameters", "proto=https;For=198.51.100.9;by=203.0.113.43;host=example.com", "198.51.100.9"],
    ["what the caller itself claims before it", "for=203.0.113.66, for=198.51.100.9", "198.51.100.9"],
    ["trusted proxies on the way", "for=198.51.100.9, for=10.0.0.3,for=10.0.0.2", "198.51.100.9"],
    ["IPv6 in quotes and brackets", 'for="[2001:db8::7]"', "2001:db8::7"],
    ["a port", 'for="198.51.100.9:4711", for="[2001:db8:10::2]:80"', "198.51.100.9"],
    ["a quote that the caller leaves open", 'for="203.0.113.66, for=198.51.100.9', "198.51.100.9"],
    ["nonsense of the caller's", "=;,,for=198.51.100.9", "198.51.100.9"],
  ])("is read: %s", (_name, header, caller) => {
    expect(forwarded(header)).toBe(caller);
  });

  it.each([
    "",
    "for",
    "for=",
    "for=unknown",
    "for=_hidden",
    'for="_SEVKISEK"',
    "proto=https",
    "198.51.100.9",
    'for="198.51.100.9',
    'for="a,b"',
    "for==198.51.100.9",
  ])("ends at the last trusted proxy where it names no address: %j", (nonsense) => {
    expect(forwarded(`for=198.51.100.9, ${nonsense}`)).toBe(PEER);
    expect(forwarded(`for=198.51.100.9, ${nonsense}, for=10.0.0.2`)).toBe("10.0.0.2");
  });

  it("is not looked at where proxies write X-Forwarded-For, there or not", () => {
    const header = { forwarded: "for=203.0.113.66" };
    expect(callerOf({ ...header, "x-forwarded-for": "198.51.100.9" })).toBe("198.51.100.9");
    expect(callerOf({ ...header, "x-forwarded-for": "unknown" })).toBe(PEER);
    expect(callerOf(header)).toBe(PEER);
  });

  it("is the only one looked at where proxies write it: the client may send the other", () => {
    const client = { "x-forwarded-for": "203.0.113.66" };
    expect(callerOf({ ...client, forwarded: "for=198.51.100.9" }, PEER, "forwarded")).toBe("198.51.100.9");
    expect(callerOf(client, PEER, "forwarded")).toBe(PEER);
  });
});

describe("the walk", () => {
  it("never passes an address that is not trusted, whatever stands before it", () => {
    fc.assert(
      fc.property(fc.string({ maxLength: 60 }), fc.nat(3), (claimed, hops) => {
        const proxies = Array.from({ length: hops }, (_, n) => `10.0.0.${n + 2}`);
        expect(xff([claimed, "198.51.100.9", ...proxies].join(", "))).toBe("198.51.100.9");
        const elements = ["198.51.100.9", ...proxies].map((address) => `for=${address}`);
        expect(forwarded([claimed, ...elements].join(", "))).toBe("198.51.100.9");
      }),
    );
  });

  it("looks at each request of a connection, even if the last one said something else", () => {
    const connection = connectionFrom(PEER);
    const callerAddress = trustProxies(["loopback", PEER]);
    const seen = [
      { "x-forwarded-for": "198.51.100.9" },
      { "x-forwarded-for": "198.51.100.9" },
      { forwarded: "198.51.100.9" },
      { "x-forwarded-for": "198.51.100.10" },
      {},
    ].map((headers) => decodeInet(callerAddress(connection, headers)));
    expect(seen).toEqual(["198.51.100.9", "198.51.100.9", PEER, "198.51.100.10", PEER]);
  });

  it("has no address where the connection is gone", () => {
    expect(trustProxies(["loopback"])(undefined, { "x-forwarded-for": "198.51.100.9" })).toHaveLength(0);
    const gone = {} as Socket;
    expect(trustProxies(["loopback"])(gone, { "x-forwarded-for": "198.51.100.9" })).toHaveLength(0);
  });
});

describe("isProxyRange", () => {
  it.each([
    "loopback",
    "linklocal",
    "uniquelocal",
    "192.0.2.1",
    "192.0.2.0/24",
    "2001:db8::1",
    "2001:db8::/32",
    "1.2.3.4/32",
  ])("takes %j, which can then be trusted", (range) => {
    expect(isProxyRange(range)).toBe(true);
    expect(() => trustProxies([range])).not.toThrow();
  });

  it.each([
    "",
    "all",
    "localhost",
    "192.0.2",
    "0.0.0.0/0",
    "::/0",
    "192.0.2.0/33",
    "2001:db8::/129",
    "192.0.2.0/",
    "192.0.2.0/255.255.255.0",
    "192.0.2.0/24/8",
    "192.0.2.0/-1",
    "192.0.2.1:80",
  ])("refuses %j", (range) => {
    expect(isProxyRange(range)).toBe(false);
  });
});
