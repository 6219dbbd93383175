/**
 * The link to NATS: keeps one connection, with the streams checked, for as long as it is open; it neither publishes a
 * batch nor takes one.
 *
 * A connection that breaks is given up and a new one made, to any of the servers that BUFFER_URL names: what was in
 * flight fails at once, and nothing is published while there is none.
 */
import { readFileSync } from "node:fs";
import { type JetStreamClient, type JetStreamManager, jetstream, jetstreamManager } from "@nats-io/jetstream";
import {
  type ConnectionOptions,
  connect,
  credsAuthenticator,
  errors,
  type NatsConnection,
} from "@nats-io/transport-node";
import type { Logger } from "pino";
import { type BackoffOptions, backoffMs } from "../../util/backoff.js";
import type { Clock } from "../../util/clock.js";
import { messageOf } from "../../util/error-message.js";
import { type NextStep, SupervisedLoop } from "../../util/supervised-loop.js";
import { Waker } from "../../util/waker.js";
import type { NatsServers } from "./nats-url.js";
import {
  apiCode,
  keepContract,
  type ServerFacts,
  StreamContractError,
  type StreamNames,
  type StreamWishes,
  versionWarnings,
} from "./stream-contract.js";

/** The buffer cannot be used at all; the message is one line for the operator. */
export class BufferOpenError extends Error {
  override readonly name = "BufferOpenError";
}

/** A connection whose streams are as they must be. */
export interface JetStreamSession {
  readonly connection: NatsConnection;
  readonly client: JetStreamClient;
  readonly manager: JetStreamManager;
  /** Largest message, headers included, in bytes. */
  readonly maxPayloadBytes: number;
  /** The bound that the stream itself has; undefined: none. */
  readonly streamMaxBytes: number | undefined;
}

export interface JetStreamLinkDeps {
  readonly servers: NatsServers;
  /** A file of `nats` credentials, read again for each connection. */
  readonly credentialsFile: string | undefined;
  readonly names: StreamNames;
  readonly wishes: StreamWishes;
  /** What the servers' monitoring calls this process. */
  readonly clientName: string;
  readonly clock: Clock;
  readonly random: () => number;
  readonly logger: Logger;
  /** Called every two seconds while there is a session, and once when it begins. Must keep a deadline. */
  readonly look: (session: JetStreamSession) => Promise<void>;
}

/** A server that is there answers in milliseconds. */
const CONNECT_TIMEOUT_MS = 3_000;
/** How long a request waits that has no answer. */
export const ANSWER_TIMEOUT_MS = 5_000;
/** A peer that is silent for two of these is gone. */
const PING_INTERVAL_MS = 2_000;
const OPEN_TIMEOUT_MS = 5_000;
const LOOK_MS = 2_000;
const CLOSE_TIMEOUT_MS = 1_000;
/** A contract that is broken waits for a person. */
const CONTRACT_RETRY_MS = 10_000;
const BACKOFF: BackoffOptions = { firstMs: 500, maxMs: 3_000, minMs: 100 };

/** `new` → `open` by open(); → `closed`, for good, by close(). */
export class JetStreamLink {
  readonly #deps: JetStreamLinkDeps;
  readonly #waker: Waker;
  readonly #loop: SupervisedLoop;
  readonly #closing = new AbortController();
  #running: Promise<void> = Promise.resolve();
  #connection: NatsConnection | undefined;
  #session: JetStreamSession | undefined;
  #failures = 0;
  #fault: unknown;
  #hasWarned = false;
  #onSession: (() => void) | undefined;
  /** Hears how the first try ended. */
  #onFirst: ((fault: unknown) => void) | undefined;

  constructor(deps: JetStreamLinkDeps) {
    this.#deps = deps;
    this.#waker = new Waker(deps.clock);
    this.#loop = new SupervisedLoop({
      name: "the link to NATS",
      step: () => this.#step(),
      waker: this.#waker,
      logger: deps.logger,
    });
  }

  /** undefined: there is no connection, or the streams are not as they must be. */
  get session(): JetStreamSession | undefined {
    return this.#session;
  }

  /** Why there is no session; undefined when there is one. */
  get fault(): unknown {
    return this.#session === undefined ? (this.#fault ?? new Error("NATS is not connected yet")) : undefined;
  }

  /** Calls `listener` whenever a session begins. */
  onSession(listener: () => void): void {
    this.#onSession = listener;
  }

  /**
   * Resolves when there is a session or, with a warning, after five seconds: what is out of reach may come back.
   *
   * @throws BufferOpenError when NATS refuses us, or the streams could lose events
   */
  async open(): Promise<void> {
    const fault = await new Promise<unknown>((resolve) => {
      const cancel = this.#deps.clock.schedule(OPEN_TIMEOUT_MS, () => resolve(this.fault));
      this.#onFirst = (error) => {
        cancel();
        resolve(error);
      };
      this.#running = this.#loop.run();
    });
    if (isRefusal(fault)) {
      await this.close();
      throw new BufferOpenError(refusalLine(fault), { cause: fault });
    }
    if (fault !== undefined) {
      this.#deps.logger.warn(
        { reason: messageOf(fault) },
        "buffer: NATS is out of reach; events wait in memory until it is back",
      );
    }
  }

  /** The streams may be gone: they are looked for at once. */
  doubt(): void {
    this.#session = undefined;
    this.#waker.wake();
  }

  /** Sends what was said last, and lets go. Safe before open() and twice. */
  async close(): Promise<void> {
    this.#closing.abort();
    this.#waker.wake();
    await this.#running;
    const connection = this.#connection;
    this.#connection = undefined;
    this.#session = undefined;
    if (connection !== undefined) {
      await this.#within(CLOSE_TIMEOUT_MS, connection.flush()).catch(() => undefined);
      await this.#within(CLOSE_TIMEOUT_MS, connection.close()).catch(() => undefined);
    }
  }

  async #step(): Promise<NextStep> {
    if (this.#closing.signal.aborted) {
      return "end";
    }
    try {
      this.#connection ??= await this.#connect();
      this.#session ??= await this.#prepare(this.#connection);
      this.#failures = 0;
      await this.#deps.look(this.#session);
      return { waitMs: LOOK_MS };
    } catch (error) {
      return this.#closing.signal.aborted ? "end" : this.#fail(error);
    }
  }

  #fail(error: unknown): NextStep {
    const { logger, random } = this.#deps;
    this.#failures += 1;
    this.#fault = error;
    const reason = messageOf(error);
    if (isRefusal(error)) {
      logger.error({ reason }, "buffer: it cannot be used until somebody repairs this");
    } else {
      logger[this.#failures === 1 ? "warn" : "debug"]({ reason }, "buffer: NATS gives no answer");
    }
    if (isRefusal(error)) {
      this.#tellFirst(error);
      return { waitMs: CONTRACT_RETRY_MS };
    }
    return { waitMs: backoffMs(this.#failures, BACKOFF, random) };
  }

  async #connect(): Promise<NatsConnection> {
    const connecting = connect(connectionOptions(this.#deps));
    const connection = await this.#unlessClosing(connecting).catch((error: unknown) => {
      // One that comes when nobody waits for it any more.
      connecting.then(
        (late) => late.close(),
        () => undefined,
      );
      throw error;
    });
    void connection.closed().then(() => {
      if (this.#connection === connection) {
        this.#deps.logger.warn("buffer: the connection to NATS broke");
        this.#connection = undefined;
        this.#session = undefined;
        this.#waker.wake();
      }
    });
    return connection;
  }

  async #prepare(connection: NatsConnection): Promise<JetStreamSession> {
    const { names, wishes, logger } = this.#deps;
    const { info } = connection;
    if (info === undefined) {
      throw new Error("NATS is not connected");
    }
    const server: ServerFacts = { version: info.version, isClustered: info.cluster !== undefined };
    this.#warnOfVersion(server.version);
    const options = { timeout: ANSWER_TIMEOUT_MS };
    const manager = await this.#unlessClosing(jetstreamManager(connection, { ...options, checkAPI: false }));
    const contract = await this.#unlessClosing(keepContract(manager, names, wishes, server));
    const client = jetstream(connection, options);
    const session = {
      connection,
      client,
      manager,
      maxPayloadBytes: info.max_payload,
      streamMaxBytes: contract.maxBytes,
    };
    logger.info(
      { server: connection.getServer(), version: server.version, made: contract.made },
      "buffer: connected to NATS",
    );
    this.#fault = undefined;
    this.#session = session;
    this.#tellFirst(undefined);
    this.#onSession?.();
    return session;
  }

  #warnOfVersion(version: string): void {
    if (!this.#hasWarned) {
      this.#hasWarned = true;
      for (const warning of versionWarnings(version)) {
        this.#deps.logger.warn(`buffer: ${warning}`);
      }
    }
  }

  #tellFirst(fault: unknown): void {
    this.#onFirst?.(fault);
    this.#onFirst = undefined;
  }

  /** What `work` gives, unless close() comes first. */
  async #unlessClosing<T>(work: Promise<T>): Promise<T> {
    const { signal } = this.#closing;
    let onAbort: () => void = () => undefined;
    const aborted = new Promise<never>((_, reject) => {
      onAbort = () => reject(new Error("the buffer is closing"));
      signal.addEventListener("abort", onAbort, { once: true });
    });
    try {
      return await Promise.race([work, aborted]);
    } finally {
      signal.removeEventListener("abort", onAbort);
    }
  }

  async #within<T>(ms: number, work: Promise<T>): Promise<T | undefined> {
    let cancel: () => void = () => undefined;
    const late = new Promise<undefined>((resolve) => {
      cancel = this.#deps.clock.schedule(ms, () => resolve(undefined));
    });
    return Promise.race([work, late]).finally(cancel);
  }
}

/** Only a person can help: what we are or what is there is wrong. */
function isRefusal(error: unknown): boolean {
  return error instanceof StreamContractError || error instanceof errors.AuthorizationError;
}

function refusalLine(error: unknown): string {
  return error instanceof errors.AuthorizationError
    ? `BUFFER_URL, BUFFER_CREDENTIALS_FILE: NATS does not let us in: ${messageOf(error)}`
    : messageOf(error);
}

/** Whether an answer, or that there is none, says that the stream may be gone. */
export function mayBeGone(error: unknown): boolean {
  const name = (error as { name?: unknown } | null)?.name;
  return name === "JetStreamNotEnabled" || name === "NoRespondersError" || apiCode(error) === 10_059;
}

/** How every connection to NATS is made. */
export function connectionOptions({
  servers: { servers, isTls, ...login },
  credentialsFile,
  clientName,
}: Pick<JetStreamLinkDeps, "servers" | "credentialsFile" | "clientName">): ConnectionOptions {
  return {
    servers: [...servers],
    ...login,
    ...(credentialsFile !== undefined && {
      authenticator: credsAuthenticator(() => readFileSync(credentialsFile)),
    }),
    ...(isTls && { tls: {} }),
    name: clientName,
    reconnect: false,
    timeout: CONNECT_TIMEOUT_MS,
    pingInterval: PING_INTERVAL_MS,
    noAsyncTraces: true,
  };
}
