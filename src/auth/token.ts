/** What a bearer token is made of: makes and takes apart tokens, and hashes them; it keeps none. */
import { createHash, randomBytes } from "node:crypto";

const ID_BYTES = 8;
const SECRET_BYTES = 32;
/** `<id>.<secret>`: 16 hexadecimal digits, and 256 random bits in base64url. */
const TOKEN_PATTERN = /^([0-9a-f]{16})\.([\w-]{43})$/;
/**
 * RFC 6750, section 2.1. The scheme's name is not sensitive to case. It allows more blanks than one; we do not, so that
 * there are few headers for one token, and all of them short.
 */
const BEARER_PATTERN = /^bearer (\S+)$/i;

/** What a token's id looks like. */
export const TOKEN_ID_PATTERN = /^[0-9a-f]{16}$/;
/** What the hash of a token's secret looks like in a file. */
export const TOKEN_HASH_PATTERN = /^[0-9a-f]{64}$/;

/** A token in its two parts. */
export interface Token {
  /** Public: says which entry to compare the secret with. */
  readonly id: string;
  readonly secret: string;
}

/** A new token, from the system's source of randomness. */
export function makeToken(): Token {
  return {
    id: randomBytes(ID_BYTES).toString("hex"),
    secret: randomBytes(SECRET_BYTES).toString("base64url"),
  };
}

/** The token as its holder sends it. */
export function formatToken({ id, secret }: Token): string {
  return `${id}.${secret}`;
}

/** The token in a header Authorization; undefined when there is none that has the form of one of ours. */
export function parseAuthorization(header: string): Token | undefined {
  const bearer = BEARER_PATTERN.exec(header)?.[1];
  const [, id, secret] = (bearer && TOKEN_PATTERN.exec(bearer)) || [];
  return id === undefined || secret === undefined ? undefined : { id, secret };
}

/**
 * The SHA-256 of a secret, 32 bytes. A slow hash protects what people choose, by making guesses dear; of 256 random
 * bits there is nothing to guess.
 */
export function hashSecret(secret: string): Buffer {
  return createHash("sha256").update(secret).digest();
}
