/** The tokens in force: tells who a call is from, and what that caller may do. */
import { timingSafeEqual } from "node:crypto";
import type { Logger } from "pino";
import type { Clock } from "../util/clock.js";
import { messageOf } from "../util/error-message.js";
import { hashSecret, parseAuthorization } from "./token.js";
import { DEFAULT_PERMISSIONS, readTokenFile, type TokenEntry, type TokenPermission } from "./token-file.js";

/** The holder of a token. */
export interface Caller {
  /** The token's public id: stays the same when the tokens are loaded again. */
  readonly id: string;
  /** The name that the operator gave it. */
  readonly name: string;
  /** What it may do. */
  readonly may: ReadonlySet<TokenPermission>;
  /** The properties that it may do so with; undefined: any. */
  readonly properties: ReadonlySet<string> | undefined;
}

/** Whether a property is one of a caller's. Without tokens there is no caller, and all are. */
export function isAllowed(caller: Caller | undefined, property: string): boolean {
  return caller?.properties === undefined || caller.properties.has(property);
}

export interface TokenStoreDeps {
  /** Path of the file. */
  readonly file: string;
  readonly clock: Clock;
  readonly logger: Logger;
}

/** A caller with what its token is checked by. */
interface KnownCaller extends Caller {
  readonly hash: Buffer;
  /** Unix time in milliseconds. */
  readonly expiresAtMs: number;
}

/** Headers that are remembered. Each token has one, unless its holders spell the header in different ways. */
const VERIFIED_MAX = 10_000;
/** What the secret of an unknown token is compared with, so that it takes as long as that of a known one. */
const NO_HASH = Buffer.alloc(32);

/** The tokens of a file, as they were when it was loaded last. Before the first load there are none. */
export class TokenStore {
  readonly #deps: TokenStoreDeps;
  #callers: ReadonlyMap<string, KnownCaller> = new Map();
  /** Callers by the header that proved who they are: a token is hashed once a load, not once a call. */
  readonly #verified = new Map<string, KnownCaller>();

  constructor(deps: TokenStoreDeps) {
    this.#deps = deps;
  }

  /**
   * Puts the tokens of the file in force.
   *
   * @throws TokenFileError when they cannot be used; those loaded before stay in force
   */
  async load(): Promise<void> {
    const { file, logger } = this.#deps;
    const entries = await readTokenFile(file);
    this.#callers = new Map(entries.map((entry) => [entry.id, toCaller(entry)]));
    this.#verified.clear();
    logger.info({ file, tokens: entries.length }, "tokens loaded");
  }

  /** The same without an error: what is wrong with the file is logged. */
  async reload(): Promise<void> {
    try {
      await this.load();
    } catch (error) {
      this.#deps.logger.error(
        { reason: messageOf(error) },
        "the tokens could not be loaded again; those loaded before stay in force",
      );
    }
  }

  /** Who sends this header Authorization; undefined when it proves nothing, for whatever reason. */
  identify(header: string | undefined): Caller | undefined {
    if (header === undefined) {
      return undefined;
    }
    const caller = this.#verified.get(header) ?? this.#verify(header);
    return caller !== undefined && this.#deps.clock.now() < caller.expiresAtMs ? caller : undefined;
  }

  #verify(header: string): KnownCaller | undefined {
    const token = parseAuthorization(header);
    if (token === undefined) {
      return undefined;
    }
    const caller = this.#callers.get(token.id);
    const isRight = timingSafeEqual(hashSecret(token.secret), caller?.hash ?? NO_HASH);
    if (caller === undefined || !isRight) {
      return undefined;
    }
    if (this.#verified.size >= VERIFIED_MAX) {
      this.#verified.clear();
    }
    this.#verified.set(header, caller);
    return caller;
  }
}

function toCaller({ id, name, sha256, may, properties, expires }: TokenEntry): KnownCaller {
  return {
    id,
    name,
    may: new Set(may ?? DEFAULT_PERMISSIONS),
    properties: properties && new Set(properties),
    hash: Buffer.from(sha256, "hex"),
    expiresAtMs: expires === undefined ? Number.POSITIVE_INFINITY : Date.parse(expires),
  };
}
