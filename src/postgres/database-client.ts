/**
 * Connects to the server that a connection string means: with several hosts to the first that is as it asks
 * (`target_session_attrs`), with or without TLS as it asks (`sslmode`). node-postgres knows one host and no `prefer`.
 */
import { readFileSync } from "node:fs";
import type { ConnectionOptions } from "node:tls";
import { callbackify } from "node:util";
import { Client, type ClientConfig } from "pg";
import { codeOf, messageOf } from "../util/error-message.js";
import type { FaultClass } from "../util/fault-class.js";
import type { ConnectionTarget, ServerAddress, SessionTarget } from "./connection-string.js";
import { isOutage } from "./sqlstate.js";

/** The server is not what the connection string asks for; after a failover it may be. */
export class SessionTargetError extends Error {
  override readonly name = "SessionTargetError";
  readonly faultClass: FaultClass = "transient";
}

/** None of the servers is as the connection string asks; each says why. */
export class NoServerError extends AggregateError {
  override readonly name = "NoServerError";
}

/** What `pg` says of a server that speaks no TLS. */
const NO_TLS = "The server does not support SSL connections";

/** How to reach one server. */
interface Route extends ServerAddress {
  readonly ssl: ConnectionOptions | false;
}

type ConnectCallback = ((error: Error) => void) | ((error: null, client: Client) => void);
type ClientClass = new (config?: string | ClientConfig) => Client;

/** The settings of `pg` that do not depend on the server. */
export function clientConfig(target: ConnectionTarget): ClientConfig {
  const { user, password, database, applicationName = "stats-service", options } = target;
  return {
    application_name: applicationName,
    ...(user !== undefined && { user }),
    ...(password !== undefined && { password }),
    ...(database !== undefined && { database }),
    ...(options !== undefined && { options }),
  };
}

/**
 * A class of clients for a pool. They share what they know: the server that was as it should be is asked first, and the
 * others when it is so no more.
 */
export function databaseClient(target: ConnectionTarget): ClientClass {
  const routes = new Routes(target);

  class DatabaseClient extends Client {
    readonly #config: ClientConfig;

    constructor(config?: string | ClientConfig) {
      super(config);
      this.#config = typeof config === "object" ? config : {};
    }

    override connect(): Promise<Client>;
    override connect(callback: ConnectCallback): void;
    // biome-ignore lint/suspicious/noConfusingVoidType: as the types of `pg` have it.
    override connect(callback?: ConnectCallback): Promise<Client> | void {
      if (callback === undefined) {
        return this.#connect();
      }
      callbackify(() => this.#connect())(callback as (error: Error | null, client: Client) => void);
    }

    async #connect(): Promise<Client> {
      direct(this, await routes.find(this.#config));
      try {
        await super.connect();
        await requireSession(this, target.session);
      } catch (error) {
        routes.forget();
        throw withAdvice(error);
      }
      return this;
    }
  }
  return DatabaseClient;
}

/** Finds the way to a server, and remembers it. */
class Routes {
  readonly #target: ConnectionTarget;
  readonly #routes: readonly Route[];
  #found: Promise<Route> | undefined;

  constructor(target: ConnectionTarget) {
    this.#target = target;
    this.#routes = target.servers.flatMap((server) =>
      sslOptions(target, server).map((ssl) => ({ ...server, ssl })),
    );
  }

  /** The way to a server that is as it should be; shared by all who ask meanwhile. */
  find(config: ClientConfig): Promise<Route> {
    this.#found ??= this.#find(config).catch((error: unknown) => {
      this.#found = undefined;
      throw error;
    });
    return this.#found;
  }

  /** The server that was found is not as it should be any more. */
  forget(): void {
    this.#found = undefined;
  }

  async #find(config: ClientConfig): Promise<Route> {
    const [first, ...others] = this.#routes;
    if (first !== undefined && others.length === 0) {
      return first;
    }
    const faults: unknown[] = [];
    for (const route of this.#routes) {
      try {
        await this.#probe(config, route);
        return route;
      } catch (error) {
        faults.push(error);
      }
    }
    throw this.#target.servers.length === 1
      ? withAdvice(faults.find((fault) => messageOf(fault) !== NO_TLS) ?? faults[0])
      : new NoServerError(faults, faults.map(messageOf).join("; "));
  }

  async #probe(config: ClientConfig, route: Route): Promise<void> {
    const client = new Client(config);
    client.on("error", () => undefined);
    direct(client, route);
    try {
      await client.connect();
      await requireSession(client, this.#target.session);
    } finally {
      void client.end().catch(() => undefined);
    }
  }
}

/** What to do about a refusal that does not pass by itself, by what PostgreSQL, Node or `pg` call it. */
const ADVICE: readonly (readonly [RegExp, string])[] = [
  [/^28/, "check the user and the password in DATABASE_URL, and pg_hba.conf of the server"],
  [/^3D000$/, "create the database, or name another one in DATABASE_URL"],
  [/unsupported startup parameter/, "leave it out of DATABASE_URL, or tell PgBouncer to ignore it"],
  [/does not support SSL/, "switch TLS on at the server, or write sslmode=disable in DATABASE_URL"],
  [
    /certificate|^(ERR_TLS_|CERT_|DEPTH_ZERO_|SELF_SIGNED_|UNABLE_TO_)/,
    "name its CA by sslrootcert=FILE in DATABASE_URL, or write sslmode=require to accept any certificate",
  ],
  [/^SASL: |password must be/, "write the password into DATABASE_URL, or set PGPASSWORD"],
  [/^(22|42|08P01)/, "check the parameters in DATABASE_URL, and what is set for the role and the database"],
];

/** The same error; its message also says which setting to look at, where that would help. */
function withAdvice(error: unknown): unknown {
  const texts = [codeOf(error), messageOf(error)];
  const advice = isOutage(error)
    ? undefined
    : ADVICE.find(([pattern]) => texts.some((text) => text !== undefined && pattern.test(text)))?.[1];
  return advice === undefined || !(error instanceof Error)
    ? error
    : Object.assign(error, { message: `${error.message}: ${advice}` });
}

/** Points a client that has not connected yet at a server. `pg` reads these fields when it connects. */
function direct(client: Client, { host, port, ssl }: Route): void {
  Object.assign(client, { host, port, ssl });
  Object.assign((client as unknown as { connection: object }).connection, { ssl });
}

const IS_READ_ONLY = "SELECT current_setting('transaction_read_only') = 'on' AS is_not, 'read-only' AS what";
const IS_STANDBY = "SELECT pg_is_in_recovery() AS is_not, 'a standby' AS what";

async function requireSession(client: Client, session: SessionTarget): Promise<void> {
  if (session === "any") {
    return;
  }
  const { rows } = await client.query<{ is_not: boolean; what: string }>(
    session === "primary" ? IS_STANDBY : IS_READ_ONLY,
  );
  if (rows[0]?.is_not !== false) {
    throw new SessionTargetError(`${client.host}:${client.port} is ${rows[0]?.what ?? "silent"}`);
  }
}

/** The ways to speak TLS, or not, with a server, in the order in which they are tried. A Unix socket needs none. */
function sslOptions(target: ConnectionTarget, { host }: ServerAddress): (ConnectionOptions | false)[] {
  const { sslMode, sslRootCert, sslCert, sslKey } = target;
  if (sslMode === "disable" || host.startsWith("/")) {
    return [false];
  }
  const files = {
    ...(sslRootCert !== undefined && sslRootCert !== "system" && { ca: readFileSync(sslRootCert, "utf8") }),
    ...(sslCert !== undefined && { cert: readFileSync(sslCert, "utf8") }),
    ...(sslKey !== undefined && { key: readFileSync(sslKey, "utf8") }),
  };
  switch (sslMode) {
    case "prefer":
      return [{ ...files, rejectUnauthorized: false }, false];
    case "require":
      return [{ ...files, rejectUnauthorized: false }];
    case "verify-ca":
      return [{ ...files, checkServerIdentity: () => undefined }];
    case "verify-full":
      return [files];
  }
}
