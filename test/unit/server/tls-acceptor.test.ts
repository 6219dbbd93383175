import { Socket } from "node:net";
import { TlsAcceptor } from "../../../src/server/tls-acceptor.js";
import { makeCertificate } from "../../support/certificates.js";
import { FakeClock } from "../../support/fake-clock.js";
import { silent } from "../../support/rpc-port.js";

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
