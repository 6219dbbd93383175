import { once } from "node:events";
import { Socket } from "node:net";
import fc from "fast-check";
import { sniffProtocol, TlsAcceptor, WaitingConnections } from "../../../src/server/entrance.js";
import { makeCertificate } from "../../support/certificates.js";
import { FakeClock } from "../../support/fake-clock.js";
import { silent } from "../../support/rpc-port.js";

const TIMEOUT_MS = 1_000;

let clock: FakeClock;
let room: WaitingConnections;
beforeEach(() => {
  clock = new FakeClock();
  room = new WaitingConnections({ clock, timeoutMs: TIMEOUT_MS });
});

test("a connection that ends leaves the room", async () => {
  const socket = new Socket();
  room.add(socket);
  expect(room.size).toBe(1);
  socket.destroy();
  await once(socket, "close");
  expect(room.size).toBe(0);
});

test("a connection whose time is over is dropped, and leaves the room", async () => {
  const [early, late] = [new Socket(), new Socket()];
  room.add(early);
  await clock.advance(TIMEOUT_MS / 2);
  room.add(late);
  await clock.advance(TIMEOUT_MS / 2);
  room.sweep();
  await once(early, "close");
  expect([early.destroyed, late.destroyed, room.size]).toEqual([true, false, 1]);
});

test("a room that is closed drops whoever waits or comes", async () => {
  const [early, late] = [new Socket(), new Socket()];
  room.add(early);
  room.close();
  expect(room.add(late)).toBe(false);
  expect([early.destroyed, late.destroyed]).toEqual([true, true]);
});

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

test("a connection that was reset before anyone looked at it is dropped at once", async () => {
  const { cert, key } = await makeCertificate("server");
  const current = { cert: Buffer.from(cert), key: Buffer.from(key), ca: undefined };
  const acceptor = new TlsAcceptor({
    clock: new FakeClock(),
    timeoutMs: 1_000,
    credentials: { current, onChange: () => {} },
    logger: silent,
    onHttp1: () => {},
    onHttp2: () => {},
  });
  // It has no address any more.
  const socket = new Socket();
  acceptor.accept(socket);
  expect(socket.destroyed).toBe(true);
});
