import fc from "fast-check";
import { sniffProtocol } from "../../../src/server/protocol-sniffer.js";

function sniff(text: string) {
  return sniffProtocol(Buffer.from(text, "latin1"));
}

describe("sniffProtocol", () => {
  it("knows HTTP/2 by the preface's first word", () => {
    expect(sniff("PRI")).toBe("http2");
    expect(sniff("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")).toBe("http2");
  });

  it.each(["", "P", "PR"])("wants more than %j", (text) => {
    expect(sniff(text)).toBe("undecided");
  });

  it.each(["G", "POST", "PUT", "PATCH", "PRO", "\x16\x03\x01", "\0"])("leaves %j to HTTP/1.1", (text) => {
    expect(sniff(text)).toBe("http1");
  });

  it("never changes its mind as bytes come", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 8 }), fc.uint8Array({ maxLength: 8 }), (head, more) => {
        const early = sniffProtocol(head);
        fc.pre(early !== "undecided");
        expect(sniffProtocol(Buffer.concat([head, more]))).toBe(early);
      }),
    );
  });
});
