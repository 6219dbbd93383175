import { once } from "node:events";
import { createServer } from "node:http";
import { type AddressInfo, createServer as createTcpServer, type Server } from "node:net";
import { createServer as createTlsServer } from "node:tls";
import { createStatsClient } from "../../../client/src/stats-client.js";
import { diagnose } from "../../../src/commands/push/diagnosis.js";
import { makeCertificate } from "../../support/certificates.js";
import { freePort } from "../../support/free-port.js";

const servers: Server[] = [];

afterEach(async () => {
  for (const server of servers.splice(0)) {
    server.close();
    await once(server, "close");
  }
});

/** Resolves with the port's address. */
async function listen(server: Server): Promise<string> {
  servers.push(server.listen(0, "127.0.0.1"));
  await once(server, "listening");
  return `127.0.0.1:${(server.address() as AddressInfo).port}`;
}

/** A web server that answers all requests alike. */
function answering(code: number, body: string) {
  return listen(
    createServer((request, response) => {
      request.resume();
      response.writeHead(code, { "content-type": "text/html", connection: "close" }).end(body);
    }),
  );
}

/** What is said of a call to this URL, which has to fail. */
async function diagnosisOf(url: string) {
  const client = createStatsClient(url);
  try {
    await client.push({ property: "news", section: 1, item: 1 });
  } catch (error) {
    return diagnose(url, error);
  }
  throw new Error("the call did not fail");
}

test("a port where nothing listens may get a service", async () => {
  const address = `127.0.0.1:${await freePort()}`;
  expect(await diagnosisOf(`http://${address}`)).toEqual({
    message: `nothing listens on ${address}`,
    canPass: true,
  });
});

test("a name that has no address may get one", async () => {
  const { message, canPass } = await diagnosisOf("http://no-such-host.invalid:3000");
  expect(message).toContain("no-such-host.invalid");
  expect(canPass).toBe(true);
});

test("a port that speaks TLS is to be called by https", async () => {
  const address = await listen(createTlsServer(await makeCertificate("stats")));
  expect(await diagnosisOf(`http://${address}`)).toEqual({
    message: `${address} speaks TLS: use https://${address}`,
    canPass: false,
  });
});

test("so is one that asks for a certificate of the caller", async () => {
  const certificate = await makeCertificate("stats");
  const options = { ...certificate, ca: certificate.cert, requestCert: true, rejectUnauthorized: true };
  const address = await listen(createTlsServer(options));
  expect(await diagnosisOf(`http://${address}`)).toMatchObject({
    message: `${address} speaks TLS: use https://${address}`,
  });
});

test("a port that does not speak TLS is to be called by http", async () => {
  const address = await answering(200, "hello");
  expect(await diagnosisOf(`https://${address}`)).toEqual({
    message: `${address} does not speak TLS: use http://${address}`,
    canPass: false,
  });
});

test("a certificate that is not trusted needs its CA", async () => {
  const address = await listen(createTlsServer(await makeCertificate("stats")));
  const { message, canPass } = await diagnosisOf(`https://${address}`);
  expect(message).toContain("NODE_EXTRA_CA_CERTS");
  expect(canPass).toBe(false);
});

test.each([
  [404, false],
  [502, true],
])("a web server that answers %d is no stats-service", async (code, canPass) => {
  const address = await answering(code, "<html>");
  const diagnosis = await diagnosisOf(`http://${address}`);
  expect(diagnosis.message).toContain(`http://${address} answers, but not as a stats-service does`);
  expect(diagnosis.canPass).toBe(canPass);
});

test("a port that Node.js does not call is named", async () => {
  expect(await diagnosisOf("http://127.0.0.1:6000")).toEqual({
    message: "Node.js calls no service on port 6000, which is another protocol's: choose another",
    canPass: false,
  });
});

test("a port that hangs up may be starting", async () => {
  const address = await listen(createTcpServer((socket) => socket.destroy()));
  expect(await diagnosisOf(`http://${address}`)).toMatchObject({
    message: expect.stringContaining(`no answer from`),
    canPass: true,
  });
});
