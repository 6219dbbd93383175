import { Agent, request } from "node:https";
import { join } from "node:path";
import { createClient } from "@connectrpc/connect";
import {
  createConnectTransport,
  createGrpcTransport,
  createGrpcWebTransport,
} from "@connectrpc/connect-node";
import { credentials, loadPackageDefinition, type ServiceClientConstructor } from "@grpc/grpc-js";
import { loadSync } from "@grpc/proto-loader";
import { AckMode, StatsService } from "../../gen/stats/v1/stats_pb.js";
import { type Certificate, CertificateFiles, makeCertificate } from "../support/certificates.js";
import type { TestDatabase } from "../support/database.js";
import { push } from "../support/pushes.js";
import { ServiceProcess } from "../support/service-process.js";
import { createServiceDatabase } from "../support/stats-database.js";

const EVENT = { property: "news", section: 1, item: 1 };

let database: TestDatabase;
let certificate: Certificate;
let files: CertificateFiles;
beforeAll(async () => {
  database = await createServiceDatabase();
  certificate = await makeCertificate("stats");
});
beforeEach(async () => {
  files = await CertificateFiles.create(certificate, certificate);
});
afterEach(() => files[Symbol.asyncDispose]());
afterAll(() => database[Symbol.asyncDispose]());

function startService(settings: Record<string, string> = {}) {
  return ServiceProcess.start({
    DATABASE_URL: database.url,
    TLS_CERT_FILE: files.certFile,
    TLS_KEY_FILE: files.keyFile,
    ...settings,
  });
}

/** Calls Push by grpc-js, which trusts `ca`. */
function pushByGrpcJs(port: number, ca: Certificate): Promise<unknown> {
  const options = { includeDirs: [join(import.meta.dirname, "../../proto")] };
  const definition = loadPackageDefinition(loadSync("stats/v1/stats.proto", options));
  const { StatsService: Stats } = (
    definition.stats as unknown as { v1: { StatsService: ServiceClientConstructor } }
  ).v1;
  const client = new Stats(`localhost:${port}`, credentials.createSsl(Buffer.from(ca.cert)));
  return new Promise((resolve, reject) => {
    client.Push?.(EVENT, (error: Error | null, answer: unknown) => {
      client.close();
      if (error === null) {
        resolve(answer);
      } else {
        reject(error);
      }
    });
  });
}

test("with a certificate the port takes each protocol over TLS, and none in clear text", async () => {
  await using service = await startService();
  const baseUrl = `https://localhost:${service.port}`;
  const nodeOptions = { ca: certificate.cert };
  for (const transport of [
    createConnectTransport({ baseUrl, httpVersion: "1.1", nodeOptions }),
    createConnectTransport({ baseUrl, httpVersion: "2", nodeOptions }),
    createGrpcTransport({ baseUrl, nodeOptions }),
    createGrpcWebTransport({ baseUrl, httpVersion: "1.1", nodeOptions }),
  ]) {
    await createClient(StatsService, transport).push({ ...EVENT, ack: AckMode.DURABLE });
  }
  expect(await pushByGrpcJs(service.port, certificate)).toEqual({});
  await expect(push(service.url, EVENT)).rejects.toMatchObject({
    code: expect.stringMatching(/ECONNRESET|HPE_/),
  });
  const { rows } = await database.pool.query("SELECT DISTINCT host(remote_ip) AS ip FROM incoming");
  expect(rows).toEqual([{ ip: "127.0.0.1" }]);
  expect(await service.stop()).toEqual({ status: 0, signal: null });
  expect(service.find("stopped")).toMatchObject({ accepted: 5 });
});

test("SIGHUP puts a new certificate in place while calls are answered, and fails none", async () => {
  const renewed = await makeCertificate("renewed");
  await using service = await startService();
  const baseUrl = `https://localhost:${service.port}`;
  const nodeOptions = { ca: [certificate.cert, renewed.cert] };
  const longLived = createClient(StatsService, createGrpcTransport({ baseUrl, nodeOptions }));
  // Each call on a connection of its own: some shake hands in the middle of it.
  const agent = new Agent({ keepAlive: false, maxSockets: 4, ca: nodeOptions.ca });
  let isDone = false;
  let pushed = 0;
  const produce = async (once: () => Promise<unknown>) => {
    while (!isDone) {
      await once();
      pushed += 1;
    }
  };
  const producers = [
    produce(() => longLived.push(EVENT)),
    produce(() => longLived.push({ ...EVENT, ack: AckMode.DURABLE })),
    produce(() => pushOnce(service.port, agent)),
    produce(() => pushOnce(service.port, agent)),
  ];
  for (let round = 1; round <= 4; round++) {
    await files.replace(round % 2 === 1 ? renewed : certificate);
    service.signal("SIGHUP");
    await service.logged("certificate loaded", 1 + round);
  }
  isDone = true;
  await Promise.all(producers);
  await files.replace(renewed);
  service.signal("SIGHUP");
  await service.logged("certificate loaded", 6);
  await expect(pushByGrpcJs(service.port, certificate)).rejects.toMatchObject({ code: 14 });
  expect(await pushByGrpcJs(service.port, renewed)).toEqual({});
  agent.destroy();
  await service.stop();
  expect(service.find("stopped")).toMatchObject({ accepted: pushed + 1, missing: 0 });
});

/** One event over HTTPS/1.1; rejects unless it is accepted. */
function pushOnce(port: number, agent: Agent): Promise<void> {
  return new Promise((resolve, reject) => {
    const call = request(
      {
        host: "localhost",
        port,
        agent,
        method: "POST",
        path: "/stats.v1.StatsService/Push",
        headers: { "content-type": "application/json" },
      },
      (response) => {
        response.resume().on("end", () => {
          if (response.statusCode === 200) {
            resolve();
          } else {
            reject(new Error(`answered ${response.statusCode}`));
          }
        });
      },
    );
    call.on("error", reject);
    call.end(JSON.stringify(EVENT));
  });
}

test("with a client CA, only clients that it vouches for are heard", async () => {
  const client = await makeCertificate("client", certificate);
  await using service = await startService({ TLS_CLIENT_CA_FILE: files.caFile });
  const pushWith = (identity: { cert?: string; key?: string }) => {
    const nodeOptions = { ca: certificate.cert, ...identity };
    const transport = createConnectTransport({
      baseUrl: `https://localhost:${service.port}`,
      httpVersion: "1.1",
      nodeOptions,
    });
    return createClient(StatsService, transport).push(EVENT);
  };
  await pushWith(client);
  await expect(pushWith({})).rejects.toThrow();
  await service.stop();
  expect(service.find("stopped")).toMatchObject({ accepted: 1 });
});

test("a key that does not fit the certificate stops the start, in one line", async () => {
  await files.replace({ cert: certificate.cert, key: (await makeCertificate("other")).key });
  await using service = ServiceProcess.spawn([], {
    DATABASE_URL: database.url,
    TLS_CERT_FILE: files.certFile,
    TLS_KEY_FILE: files.keyFile,
  });
  expect(await service.ended()).toMatchObject({ status: 1 });
  expect(service.find("cannot start")?.reason).toContain(
    `TLS_KEY_FILE: ${files.keyFile}: is no key for the certificate in TLS_CERT_FILE`,
  );
});
