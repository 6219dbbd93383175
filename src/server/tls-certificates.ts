/** The certificate of the RPC port: reads it, and notices when it is replaced; it never speaks TLS. */
import { X509Certificate } from "node:crypto";
import { readFile } from "node:fs/promises";
import { createSecureContext } from "node:tls";
import type { Logger } from "pino";
import type { Clock } from "../util/clock.js";
import { messageOf } from "../util/error-message.js";

/** What Node's TLS takes, PEM each. */
export interface TlsCredentials {
  readonly cert: Buffer;
  readonly key: Buffer;
  /** Who may have signed a client's certificate; undefined: clients need none. */
  readonly ca: Buffer | undefined;
}

export interface TlsCertificatesDeps {
  readonly certFile: string;
  readonly keyFile: string;
  readonly clientCaFile: string | undefined;
  readonly clock: Clock;
  readonly logger: Logger;
}

/** The files cannot be used; the message is one line that names the setting. */
export class TlsCertificatesError extends Error {
  override readonly name = "TlsCertificatesError";
}

/** How often the files are read: what replaces them seldom says so. In milliseconds. */
const POLL_MS = 5_000;

/** A certificate should have been replaced by this time before its end, in milliseconds: 7 days. */
const RENEW_BEFORE_MS = 7 * 24 * 60 * 60 * 1_000;

/** `new` → `watching` by start(); → `closed`, for good, by close(). load() comes before all of that. */
export class TlsCertificates {
  readonly #deps: TlsCertificatesDeps;
  #current: TlsCredentials | undefined;
  #certificate: X509Certificate | undefined;
  /** The warning of the certificate's end that is in the log, if there is one. */
  #warning: string | undefined;
  /** What was read last, whether it could be used or not: the same fault is logged once. */
  #lastSeen: string | undefined;
  #onChange: (credentials: TlsCredentials) => void = () => {};
  #isClosed = false;
  #cancelPoll: () => void = () => {};
  #reading: Promise<void> = Promise.resolve();

  constructor(deps: TlsCertificatesDeps) {
    this.#deps = deps;
  }

  /** Those in force. */
  get current(): TlsCredentials {
    if (this.#current === undefined) {
      throw new Error("the certificates have not been loaded");
    }
    return this.#current;
  }

  /** When the certificate in force expires: Unix time in milliseconds. */
  get expiresAt(): number | undefined {
    return this.#certificate && Date.parse(this.#certificate.validTo);
  }

  /** Calls `listener` with credentials that replace the current ones. */
  onChange(listener: (credentials: TlsCredentials) => void): void {
    this.#onChange = listener;
  }

  /**
   * Reads the files for the first time.
   *
   * @throws TlsCertificatesError
   */
  async load(): Promise<void> {
    this.#adopt(await this.#read());
    this.#warnOfEnd();
  }

  /** Reads the files again; says so in the log, whatever comes of it. What cannot be used changes nothing. */
  async reload(): Promise<void> {
    this.#lastSeen = undefined;
    await this.#refresh();
  }

  /** Starts to watch the files. */
  start(): void {
    this.#cancelPoll = this.#deps.clock.schedule(POLL_MS, () => {
      this.#reading = this.#refresh().then(() => {
        if (!this.#isClosed) {
          this.start();
        }
      });
    });
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    this.#cancelPoll();
    await this.#reading;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  /** Puts what is in the files in force, if that is new and sound. Never rejects. */
  async #refresh(): Promise<void> {
    const { logger } = this.#deps;
    try {
      const credentials = await this.#read();
      if (this.#isNew(fingerprint(credentials))) {
        this.#adopt(credentials);
        this.#onChange(credentials);
      }
    } catch (error) {
      const reason = messageOf(error);
      if (this.#isNew(reason)) {
        logger.error(
          { reason },
          "the certificate could not be loaded again; the one loaded before stays in force",
        );
      }
    }
    this.#warnOfEnd();
  }

  #isNew(seen: string): boolean {
    const isNew = seen !== this.#lastSeen;
    this.#lastSeen = seen;
    return isNew;
  }

  #adopt(credentials: TlsCredentials): void {
    this.#current = credentials;
    this.#lastSeen = fingerprint(credentials);
    const { cert, ca } = credentials;
    this.#certificate = new X509Certificate(cert);
    const { subject, validTo } = this.#certificate;
    const clientCas = ca && certificateBlocks(ca).length;
    this.#deps.logger.info({ subject, validTo, clientCas }, "certificate loaded");
    this.#warning = undefined;
  }

  /** Also of a certificate that was good for long when it was loaded, and that nobody has replaced. */
  #warnOfEnd(): void {
    const { clock, logger } = this.#deps;
    const leftMs = (this.expiresAt ?? Number.POSITIVE_INFINITY) - clock.now();
    if (leftMs >= RENEW_BEFORE_MS) {
      return;
    }
    const warning = leftMs <= 0 ? "the certificate has expired" : "the certificate expires within 7 days";
    if (warning !== this.#warning) {
      this.#warning = warning;
      logger.warn({ subject: this.#certificate?.subject, validTo: this.#certificate?.validTo }, warning);
    }
  }

  async #read(): Promise<TlsCredentials> {
    const { certFile, keyFile, clientCaFile } = this.#deps;
    const [cert, key, ca] = await Promise.all([
      readPem("TLS_CERT_FILE", certFile),
      readPem("TLS_KEY_FILE", keyFile),
      clientCaFile === undefined ? undefined : readPem("TLS_CLIENT_CA_FILE", clientCaFile),
    ]);
    requireCertificates("TLS_CERT_FILE", certFile, cert);
    if (ca !== undefined && clientCaFile !== undefined) {
      requireCertificates("TLS_CLIENT_CA_FILE", clientCaFile, ca);
    }
    try {
      createSecureContext({ cert, key });
    } catch (cause) {
      const message = `TLS_KEY_FILE: ${keyFile}: is no key for the certificate in TLS_CERT_FILE: ${messageOf(cause)}`;
      throw new TlsCertificatesError(message, { cause });
    }
    return { cert, key, ca };
  }
}

async function readPem(setting: string, path: string): Promise<Buffer> {
  try {
    return await readFile(path);
  } catch (cause) {
    throw new TlsCertificatesError(`${setting}: ${path}: cannot be read: ${messageOf(cause)}`, { cause });
  }
}

/**
 * Each certificate in a file must be sound: Node takes the CAs before the first that is not and is silent about the rest,
 * or, if there are none, trusts nobody.
 */
function requireCertificates(setting: string, path: string, pem: Buffer): void {
  const blocks = certificateBlocks(pem);
  // A file without any is tried as it is: the fault is OpenSSL's to name.
  for (const [index, block] of (blocks.length === 0 ? [pem] : blocks).entries()) {
    try {
      new X509Certificate(block);
    } catch (cause) {
      const which = blocks.length > 1 ? `certificate ${index + 1} of ${blocks.length} ` : "";
      const message = `${setting}: ${path}: ${which}is no certificate in PEM: ${messageOf(cause)}`;
      throw new TlsCertificatesError(message, { cause });
    }
  }
}

/** The parts of a file that begin a certificate, each up to where the next part of whatever kind begins. */
function certificateBlocks(pem: Buffer): string[] {
  return pem
    .toString("latin1")
    .split(/(?=^-----BEGIN )/m)
    .filter((part) => /^-----BEGIN (?:X509 |TRUSTED )?CERTIFICATE-----/.test(part));
}

function fingerprint({ cert, key, ca }: TlsCredentials): string {
  return [cert, key, ca].map((part) => part?.toString("base64") ?? "").join(":");
}
