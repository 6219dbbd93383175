import { isIP } from "node:net";
import fc from "fast-check";
import { decodeInet, encodeInet, InvalidAddressError, truncateInet } from "../../../src/event/inet.js";
import { anyText } from "../../support/arbitraries.js";

function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString("hex");
}

const ipv4 = fc.ipV4();
const ipv6Octets = fc.uint8Array({ minLength: 16, maxLength: 16 });

describe("encodeInet", () => {
  it("takes every text that Node takes for an address, and refuses all others by its own error", () => {
    const zone = anyText({ maxLength: 12 });
    const text = fc.oneof(
      fc.ipV4(),
      fc.ipV6(),
      fc.tuple(fc.ipV6(), zone).map(([address, name]) => `${address}%${name}`),
      fc.string(),
    );
    fc.assert(
      fc.property(text, (address) => {
        if (isIP(address) === 0) {
          expect(() => encodeInet(address)).toThrow(InvalidAddressError);
        } else {
          expect([8, 20]).toContain(encodeInet(address).length);
        }
      }),
      { numRuns: 2_000 },
    );
  });

  it("writes IPv4 as family 2, 32 bits, not a cidr, 4 bytes", () => {
    expect(hex(encodeInet("192.0.2.7"))).toBe(`02200004${"c0000207"}`);
  });

  it("writes IPv6 as family 3, 128 bits, not a cidr, 16 bytes", () => {
    expect(hex(encodeInet("2001:db8::1"))).toBe(`03800010${"20010db8000000000000000000000001"}`);
  });

  it("writes an IPv4-mapped address as IPv4", () => {
    expect(encodeInet("::ffff:192.0.2.7")).toEqual(encodeInet("192.0.2.7"));
    expect(encodeInet("::ffff:c000:207")).toEqual(encodeInet("192.0.2.7"));
  });

  it("keeps an IPv4-compatible address, which is no mapped one, as IPv6", () => {
    expect(encodeInet("::1.2.3.4")).toEqual(encodeInet("::102:304"));
    expect(encodeInet("::1.2.3.4%eth0")).toEqual(encodeInet("::102:304"));
  });

  it("drops the zone", () => {
    for (const zone of ["eth0", "eth-0", "eth0.100", "br-lan", "a:b", "1"]) {
      expect(encodeInet(`fe80::1%${zone}`)).toEqual(encodeInet("fe80::1"));
    }
  });

  it.each([
    "",
    "localhost",
    "1.2.3",
    "0x7f.0.0.1",
    "017700000001",
    "1.2.3.4:80",
    "[::1]",
    "1.2.3.4/8",
    "::g",
  ])("refuses %j", (text) => {
    expect(() => encodeInet(text)).toThrow(InvalidAddressError);
  });
});

describe("truncateInet", () => {
  it.each([
    ["192.0.2.7", "192.0.2.0/24"],
    ["255.255.255.255", "255.255.255.0/24"],
    ["::ffff:192.0.2.7", "192.0.2.0/24"],
    ["2001:db8:1:2:3:4:5:6", "2001:db8:1::/48"],
    ["::1", "::/48"],
  ])("makes a network of %s", (address, network) => {
    expect(decodeInet(truncateInet(encodeInet(address)))).toBe(network);
  });

  it("leaves what it is given as it is", () => {
    const inet = encodeInet("192.0.2.7");
    truncateInet(inet);
    expect(decodeInet(inet)).toBe("192.0.2.7");
  });
});

describe("decodeInet", () => {
  it("gives back each IPv4 address", () => {
    fc.assert(fc.property(ipv4, (address) => decodeInet(encodeInet(address)) === address));
  });

  it("gives back each IPv6 address, compressed", () => {
    fc.assert(
      fc.property(ipv6Octets, (octets) => {
        const bytes = Uint8Array.from([3, 128, 0, 16, ...octets]);
        const mapped =
          octets.subarray(0, 10).every((b) => b === 0) && octets[10] === 255 && octets[11] === 255;
        fc.pre(!mapped);
        expect(encodeInet(decodeInet(bytes))).toEqual(bytes);
      }),
    );
    expect(decodeInet(encodeInet("2001:0db8:0:0:0:0:0:0001"))).toBe("2001:db8::1");
  });

  it("gives the length of a network's prefix", () => {
    expect(decodeInet(Uint8Array.from([2, 8, 0, 4, 10, 0, 0, 0]))).toBe("10.0.0.0/8");
  });

  it.each([[[]], [[2, 32, 0, 4, 1, 2, 3]], [[2, 32, 0, 16, 1, 2, 3, 4]], [[9, 32, 0, 4, 1, 2, 3, 4]]])(
    "refuses %j",
    (bytes) => {
      expect(() => decodeInet(Uint8Array.from(bytes))).toThrow(InvalidAddressError);
    },
  );
});
