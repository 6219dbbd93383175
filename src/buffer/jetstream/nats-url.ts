/** Reads BUFFER_URL: which NATS servers to connect to, and as whom; it connects to none. */

/** What the client library is told. */
export interface NatsServers {
  /** `host:port` each. */
  readonly servers: readonly string[];
  readonly isTls: boolean;
  readonly user?: string;
  readonly pass?: string;
  readonly token?: string;
}

export const NATS_URL_EXAMPLE = "nats://host:4222,host:4222";
export const NATS_URL_RULE = `must look like ${NATS_URL_EXAMPLE} or tls://user:password@host:4222`;

const SCHEME = /^(nats|tls):\/\//;
const DEFAULT_PORT = "4222";

/**
 * Reads a list of servers, separated by commas. The scheme may stand before the first or before each; `user:password@`
 * or `token@`, percent-encoded, before the first holds for all.
 *
 * @throws Error whose message is {@link NATS_URL_RULE}
 */
export function parseNatsUrl(text: string): NatsServers {
  const scheme = SCHEME.exec(text)?.[1];
  const urls = text.split(",").map((part) => parseServer(part.trim().replace(SCHEME, "")));
  const [first] = urls;
  if (scheme === undefined || first === undefined) {
    throw new Error(NATS_URL_RULE);
  }
  return {
    servers: urls.map(({ hostname, port }) => `${hostname}:${port || DEFAULT_PORT}`),
    isTls: scheme === "tls",
    ...credentialsOf(first),
  };
}

function parseServer(authority: string): URL {
  const url = URL.canParse(`nats://${authority}`) ? new URL(`nats://${authority}`) : undefined;
  if (
    url === undefined ||
    url.hostname === "" ||
    !/^\/?$/.test(url.pathname) ||
    url.search + url.hash !== ""
  ) {
    throw new Error(NATS_URL_RULE);
  }
  return url;
}

function credentialsOf({ username, password }: URL): Pick<NatsServers, "user" | "pass" | "token"> {
  if (username === "") {
    return {};
  }
  try {
    const user = decodeURIComponent(username);
    return password === "" ? { token: user } : { user, pass: decodeURIComponent(password) };
  } catch (cause) {
    throw new Error(NATS_URL_RULE, { cause });
  }
}
