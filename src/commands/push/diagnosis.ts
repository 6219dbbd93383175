/** Finds out why no RPC port answers at a URL, and says it to the one who typed the URL; it sends no event. */
import { connect as connectTls } from "node:tls";
import { codeOf, messageOf } from "../../util/error-message.js";
import { fetchStatus } from "../status.js";

/** Why a call has failed. */
export interface Diagnosis {
  readonly message: string;
  /** False: trying again will not help, the URL or a setting has to change. */
  readonly canPass: boolean;
}

/** What looking at the port may take, in milliseconds. */
const LOOK_TIMEOUT_MS = 2_000;

/** What the system and TLS call a fault, and what it means. */
const FAULTS: Readonly<Record<string, (url: URL) => Diagnosis>> = {
  ECONNREFUSED: ({ host }) => passing(`nothing listens on ${host}`),
  ENOTFOUND: ({ hostname }) => passing(`there is no host named ${hostname}`),
  ERR_SSL_WRONG_VERSION_NUMBER: speaksNoTls,
  ERR_SSL_PACKET_LENGTH_TOO_LONG: speaksNoTls,
  DEPTH_ZERO_SELF_SIGNED_CERT: isNotTrusted,
  SELF_SIGNED_CERT_IN_CHAIN: isNotTrusted,
  UNABLE_TO_GET_ISSUER_CERT: isNotTrusted,
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: isNotTrusted,
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: isNotTrusted,
  CERT_HAS_EXPIRED: ({ host }) => lasting(`the certificate of ${host} has expired`),
  ERR_TLS_CERT_ALTNAME_INVALID: ({ host, hostname }) =>
    lasting(`the certificate of ${host} is not for ${hostname}: use a name that it has in --url`),
};

/** Why the call to the RPC port at `base` failed with `error`. Never rejects; takes a few seconds at most. */
export async function diagnose(base: string, error: unknown): Promise<Diagnosis> {
  const url = new URL(base);
  const chain = [...causesOf(error)];
  const explain = chain.map((each) => FAULTS[codeOf(each) ?? ""]).find((each) => each !== undefined);
  if (explain !== undefined) {
    return explain(url);
  }
  const deepest = messageOf(chain.at(-1));
  if (deepest === "bad port") {
    return lasting(
      `Node.js calls no service on port ${url.port}, which is another protocol's: choose another`,
    );
  }
  const isAdminPort = await fetchStatus(base, LOOK_TIMEOUT_MS).then(
    () => true,
    () => false,
  );
  if (isAdminPort) {
    const advice = "the RPC port is another, PORT of the service (3000 by default)";
    return lasting(`${base} is the admin port of a stats-service; ${advice}`);
  }
  if (url.protocol === "http:" && (await speaksTls(url))) {
    return lasting(`${url.host} speaks TLS: use ${base.replace(/^http:/, "https:")}`);
  }
  return /HTTP \d{3}|content.type/i.test(deepest)
    ? {
        message: `${base} answers, but not as a stats-service does (${deepest})`,
        canPass: !/404/.test(deepest),
      }
    : passing(deepest.includes(url.host) ? deepest : `no answer from ${url.host}: ${deepest}`);
}

function passing(message: string): Diagnosis {
  return { message, canPass: true };
}

function lasting(message: string): Diagnosis {
  return { message, canPass: false };
}

function speaksNoTls({ host, href }: URL): Diagnosis {
  return lasting(`${host} does not speak TLS: use ${href.replace(/^https:/, "http:").replace(/\/$/, "")}`);
}

function isNotTrusted({ host }: URL): Diagnosis {
  return lasting(
    `the certificate of ${host} is not from a CA that Node.js trusts: name the file of that CA in NODE_EXTRA_CA_CERTS`,
  );
}

/** The error, its cause, the cause of that. */
function* causesOf(error: unknown): Generator<unknown> {
  for (let each = error; each !== undefined && each !== null; each = (each as { cause?: unknown }).cause) {
    yield each;
    if (each instanceof AggregateError) {
      yield* each.errors;
    }
  }
}

/** Whether a TLS handshake comes to an end there. Nothing is sent, so that no certificate need be trusted. */
function speaksTls({ hostname, port }: URL): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connectTls({
      host: hostname.replace(/^\[|\]$/g, ""),
      port: Number(port || 80),
      rejectUnauthorized: false,
      timeout: LOOK_TIMEOUT_MS,
    });
    const end = (isTls: boolean) => {
      socket.destroy();
      resolve(isTls);
    };
    socket.on("secureConnect", () => end(true)).on("timeout", () => end(false));
    // A server that wants a certificate of ours, or another version of TLS, says so in a TLS alert.
    socket.on("error", (error) => end(/alert/i.test(messageOf(error))));
  });
}
