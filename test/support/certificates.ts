/** Certificates for tests, made on the spot; it never reuses one between runs. */
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { generate } from "selfsigned";

/** A certificate and its key, in PEM. */
export interface Certificate {
  readonly cert: string;
  readonly key: string;
}

/** A certificate for 127.0.0.1 and localhost, signed by `issuer` or by itself; also good for a client. */
export async function makeCertificate(commonName: string, issuer?: Certificate): Promise<Certificate> {
  const { cert, private: key } = await generate([{ name: "commonName", value: commonName }], {
    keyType: "ec",
    curve: "P-256",
    algorithm: "sha256",
    notAfterDate: new Date(Date.now() + 24 * 60 * 60 * 1000),
    extensions: [
      { name: "basicConstraints", cA: issuer === undefined },
      {
        name: "subjectAltName",
        altNames: [
          { type: 2, value: "localhost" },
          { type: 7, ip: "127.0.0.1" },
        ],
      },
    ],
    ...(issuer && { ca: issuer }),
  });
  return { cert, key };
}

/** The files that the TLS settings name, in a folder of their own. */
export class CertificateFiles implements AsyncDisposable {
  readonly certFile: string;
  readonly keyFile: string;
  readonly caFile: string;
  readonly #directory: string;

  private constructor(directory: string) {
    this.#directory = directory;
    this.certFile = join(directory, "tls.crt");
    this.keyFile = join(directory, "tls.key");
    this.caFile = join(directory, "ca.crt");
  }

  static async create(certificate: Certificate, ca?: Certificate): Promise<CertificateFiles> {
    const files = new CertificateFiles(await mkdtemp(join(tmpdir(), "stats-tls-")));
    await files.replace(certificate);
    if (ca !== undefined) {
      await writeFile(files.caFile, ca.cert);
    }
    return files;
  }

  async replace({ cert, key }: Certificate): Promise<void> {
    await writeFile(this.certFile, cert);
    await writeFile(this.keyFile, key);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await rm(this.#directory, { recursive: true });
  }
}
