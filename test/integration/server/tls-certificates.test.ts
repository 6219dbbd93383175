import { X509Certificate } from "node:crypto";
import { mkdtemp, rename, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pino } from "pino";
import { TlsCertificates, type TlsCredentials } from "../../../src/server/tls-certificates.js";
import { type Certificate, CertificateFiles, makeCertificate } from "../../support/certificates.js";
import { FakeClock } from "../../support/fake-clock.js";
import { makeGate } from "../../support/rpc-port.js";

const POLL_MS = 5_000;
const DAY_MS = 24 * 60 * 60 * 1_000;
const KEPT = "the certificate could not be loaded again; the one loaded before stays in force";

let first: Certificate;
let second: Certificate;
beforeAll(async () => {
  first = await makeCertificate("first");
  second = await makeCertificate("second");
});

/** Certificates that are watched, and what they report. */
class Watch implements AsyncDisposable {
  readonly clock = new FakeClock();
  readonly changes: TlsCredentials[] = [];
  readonly log: { level: number; msg: string; reason?: string }[] = [];
  readonly certificates: TlsCertificates;
  #heard = makeGate();

  constructor(certFile: string, keyFile: string, clientCaFile?: string) {
    const logger = pino(
      { level: "debug" },
      {
        write: (line: string) => {
          this.log.push(JSON.parse(line));
          this.#heard.open();
        },
      },
    );
    this.certificates = new TlsCertificates({ certFile, keyFile, clientCaFile, clock: this.clock, logger });
    this.certificates.onChange((credentials) => this.changes.push(credentials));
  }

  /** Lets the next look at the files come, and resolves when it has been spoken of in the log. */
  async lookUntilLogged(): Promise<void> {
    this.#heard = makeGate();
    await this.clock.advance(POLL_MS);
    await this.#heard.opened;
  }

  logged(msg: string): number {
    return this.log.filter((line) => line.msg === msg).length;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.certificates.close();
  }
}

describe("TlsCertificates", () => {
  it("notices a new certificate without being told", async () => {
    await using files = await CertificateFiles.create(first);
    await using watch = new Watch(files.certFile, files.keyFile);
    await watch.certificates.load();
    watch.certificates.start();
    await files.replace(second);
    await watch.lookUntilLogged();
    expect(watch.changes.map(({ cert }) => String(cert))).toEqual([second.cert]);
    expect(String(watch.certificates.current.key)).toBe(second.key);
  });

  it("notices it behind a symbolic link that is put in place of another, as Kubernetes does", async () => {
    const directory = await mkdtemp(join(tmpdir(), "stats-tls-"));
    await using one = await CertificateFiles.create(first);
    await using two = await CertificateFiles.create(second);
    const [link, next] = [join(directory, "data"), join(directory, "next")];
    await symlink(join(one.certFile, ".."), link);
    await using watch = new Watch(join(link, "tls.crt"), join(link, "tls.key"));
    await watch.certificates.load();
    watch.certificates.start();
    await symlink(join(two.certFile, ".."), next);
    await rename(next, link);
    await watch.lookUntilLogged();
    expect(String(watch.certificates.current.cert)).toBe(second.cert);
    await rm(directory, { recursive: true });
  });

  it("keeps a sound pair when a broken one comes, says so once, and takes the sound one that follows", async () => {
    await using files = await CertificateFiles.create(first);
    await using watch = new Watch(files.certFile, files.keyFile);
    await watch.certificates.load();
    watch.certificates.start();
    await writeFile(files.certFile, second.cert);
    await watch.lookUntilLogged();
    expect(watch.log.at(-1)).toMatchObject({
      msg: KEPT,
      reason: expect.stringMatching(/^TLS_KEY_FILE: .*is no key for the certificate in TLS_CERT_FILE/),
    });
    expect(String(watch.certificates.current.cert)).toBe(first.cert);
    await watch.clock.advance(POLL_MS);
    await watch.certificates.close();
    expect(watch.logged(KEPT)).toBe(1);
    await watch.certificates.reload();
    expect(watch.logged(KEPT)).toBe(2);
    await files.replace(second);
    await watch.certificates.reload();
    expect(watch.changes.map(({ cert }) => String(cert))).toEqual([second.cert]);
  });

  it.each(["TLS_CERT_FILE", "TLS_KEY_FILE", "TLS_CLIENT_CA_FILE"])(
    "refuses a %s that is absent or broken, by its name",
    async (setting) => {
      await using files = await CertificateFiles.create(first, first);
      const path = {
        TLS_CERT_FILE: files.certFile,
        TLS_KEY_FILE: files.keyFile,
        TLS_CLIENT_CA_FILE: files.caFile,
      }[setting] as string;
      const { certificates } = new Watch(files.certFile, files.keyFile, files.caFile);
      await certificates.load();
      await writeFile(path, "-----BEGIN CERTIFICATE-----\nbroken\n-----END CERTIFICATE-----\n");
      await expect(certificates.load()).rejects.toThrow(`${setting}: ${path}: is no`);
      await rm(path);
      await expect(certificates.load()).rejects.toThrow(`${setting}: ${path}: cannot be read: ENOENT`);
    },
  );

  it("takes all CAs of a file, and says how many they are", async () => {
    await using files = await CertificateFiles.create(first);
    await writeFile(files.caFile, `# ours\n${first.cert}\n# theirs\n${second.cert}`);
    await using watch = new Watch(files.certFile, files.keyFile, files.caFile);
    await watch.certificates.load();
    expect(watch.log).toMatchObject([{ msg: "certificate loaded", clientCas: 2 }]);
  });

  it.each([
    ["damaged", (cert: string) => cert.replace(/\n.{8}/, "\n!!!!!!!!")],
    ["cut off", (cert: string) => cert.slice(0, -40)],
  ])("changes nothing for a file of CAs of which one is %s", async (_how, damage) => {
    await using files = await CertificateFiles.create(first, first);
    await using watch = new Watch(files.certFile, files.keyFile, files.caFile);
    await watch.certificates.load();
    for (const cas of [
      [first.cert, damage(second.cert)],
      [damage(second.cert), first.cert],
    ]) {
      await writeFile(files.caFile, cas.join("\n"));
      await watch.certificates.reload();
      expect(watch.log.at(-1)).toMatchObject({
        msg: KEPT,
        reason: expect.stringMatching(
          /^TLS_CLIENT_CA_FILE: .*certificate [12] of 2 is no certificate in PEM/,
        ),
      });
    }
    expect(watch.changes).toEqual([]);
    expect(String(watch.certificates.current.ca)).toBe(first.cert);
  });

  it.each([
    ["warns of a certificate that has expired", 0, ["the certificate has expired"]],
    ["warns of a certificate that expires soon", 6 * DAY_MS, ["the certificate expires within 7 days"]],
    ["does not warn of a certificate that is good for 7 days", 7 * DAY_MS, []],
  ])("%s", async (_title, leftMs, warnings) => {
    await using files = await CertificateFiles.create(first);
    await using watch = new Watch(files.certFile, files.keyFile);
    await watch.certificates.load();
    await files.replace(second);
    watch.clock.setNow(Date.parse(new X509Certificate(second.cert).validTo) - leftMs);
    watch.log.length = 0;
    await watch.certificates.reload();
    expect(watch.changes).toHaveLength(1);
    const warned = watch.log.filter(({ level }) => level === pino.levels.values.warn);
    expect(warned.map(({ msg }) => msg)).toEqual(warnings);
  });

  it("warns, once each, of the end of a certificate that nobody replaces", async () => {
    await using files = await CertificateFiles.create(first);
    await using watch = new Watch(files.certFile, files.keyFile);
    const expiresAt = Date.parse(new X509Certificate(first.cert).validTo);
    watch.clock.setNow(expiresAt - 8 * DAY_MS);
    await watch.certificates.load();
    expect(watch.certificates.expiresAt).toBe(expiresAt);
    watch.certificates.start();
    for (const [leftMs, warning] of [
      [7 * DAY_MS, "the certificate expires within 7 days"],
      [0, "the certificate has expired"],
    ] as const) {
      watch.clock.setNow(expiresAt - leftMs);
      await watch.lookUntilLogged();
      expect(watch.log.at(-1)).toMatchObject({ msg: warning, level: pino.levels.values.warn });
    }
    await watch.clock.advance(POLL_MS);
    await watch.certificates.close();
    expect(watch.log).toHaveLength(3);
  });

  it("reads no more once it is closed", async () => {
    await using files = await CertificateFiles.create(first);
    const watch = new Watch(files.certFile, files.keyFile);
    await watch.certificates.load();
    watch.certificates.start();
    await watch.certificates.close();
    expect(watch.clock.pendingTimers).toBe(0);
  });
});
