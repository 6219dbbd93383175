/**
 * Event ids: makes UUIDv7s (RFC 9562) and reads the ones that callers send; it never decides which are
 * acceptable. The client makes its ids here too, in browsers as well, so it imports nothing of Node's.
 */
import { ID_BYTES } from "./uuid.js";

/** Fills `target` with random bytes from a cryptographic source. */
export type FillRandom = (target: Uint8Array<ArrayBuffer>) => void;

/** A clock that runs back further than this was set, not slewed: ids follow it instead of waiting for it. */
const CLOCK_SET_MS = 10_000;

const COUNTER_SEED_BITS = 25;
const COUNTER_MAX = 2 ** 26 - 1;
const TAIL_BYTES = 6;
const SEED_BYTES = 4;
/** Random bytes are asked for this many at a time. */
const POOL_BYTES = 8 * 1024;

/**
 * Makes UUIDv7s that ascend within the process, without an allocation for each.
 *
 * Layout (RFC 9562, section 6.2, method 1): 48 bits of Unix milliseconds, then a 26-bit counter across rand_a
 * and the first 14 bits of rand_b, then 48 random bits. The counter starts each millisecond at a random number
 * of 25 bits, so at least 33 million ids fit in a millisecond; past that the time field runs ahead. While the
 * clock stands still or is slewed back, the last time is kept.
 */
export class EventIds {
  readonly #now: () => number;
  readonly #fillRandom: FillRandom;
  readonly #pool = new Uint8Array(POOL_BYTES);
  #poolOffset = POOL_BYTES;
  #timeMs = 0;
  #counter = 0;

  /** `now` gives Unix time in milliseconds. */
  constructor(deps: { now: () => number; fillRandom?: FillRandom }) {
    this.#now = deps.now;
    this.#fillRandom = deps.fillRandom ?? ((target) => void crypto.getRandomValues(target));
  }

  /** Writes the next id, 16 bytes, to the start of `target`. */
  next(target: Uint8Array): void {
    this.#advance(this.#now());
    const tail = this.#takeRandom(TAIL_BYTES);
    const timeHigh = (this.#timeMs / 2 ** 32) >>> 0;
    const timeLow = this.#timeMs >>> 0;
    const counter = this.#counter;
    target[0] = timeHigh >>> 8;
    target[1] = timeHigh;
    target[2] = timeLow >>> 24;
    target[3] = timeLow >>> 16;
    target[4] = timeLow >>> 8;
    target[5] = timeLow;
    target[6] = 0x70 | (counter >>> 22);
    target[7] = counter >>> 14;
    target[8] = 0x80 | ((counter >>> 8) & 0x3f);
    target[9] = counter;
    for (let i = 0; i < TAIL_BYTES; i++) {
      target[10 + i] = this.#pool[tail + i] as number;
    }
  }

  #advance(nowMs: number): void {
    if (nowMs > this.#timeMs || nowMs < this.#timeMs - CLOCK_SET_MS) {
      this.#timeMs = nowMs;
      this.#reseed();
    } else if (this.#counter === COUNTER_MAX) {
      this.#timeMs += 1;
      this.#reseed();
    } else {
      this.#counter += 1;
    }
  }

  #reseed(): void {
    const seed = this.#takeRandom(SEED_BYTES);
    let word = 0;
    for (let i = 0; i < SEED_BYTES; i++) {
      word = (word << 8) | (this.#pool[seed + i] as number);
    }
    this.#counter = word >>> (32 - COUNTER_SEED_BITS);
  }

  /** Where in the pool that many bytes are that nothing else gets. */
  #takeRandom(bytes: number): number {
    if (this.#poolOffset + bytes > POOL_BYTES) {
      this.#fillRandom(this.#pool);
      this.#poolOffset = 0;
    }
    const offset = this.#poolOffset;
    this.#poolOffset += bytes;
    return offset;
  }
}

const NOT_HEX = 0xff;
const HEX_VALUES = new Uint8Array(128).fill(NOT_HEX);
for (let value = 0; value < 16; value++) {
  HEX_VALUES[value.toString(16).charCodeAt(0)] = value;
  HEX_VALUES[value.toString(16).toUpperCase().charCodeAt(0)] = value;
}
const DASH = "-".charCodeAt(0);
const UUID_TEXT_LENGTH = 36;
/** Where in the text each byte of a UUID stands. */
const BYTE_POSITIONS = [0, 2, 4, 6, 9, 11, 14, 16, 19, 21, 24, 26, 28, 30, 32, 34] as const;
const DASH_POSITIONS = [8, 13, 18, 23] as const;

/**
 * Reads a UUIDv7 in its 36-character form, in either case, into the first 16 bytes of `target`. False, with
 * `target` undefined in content, when the text is anything else.
 */
export function parseEventId(text: string, target: Uint8Array): boolean {
  if (text.length !== UUID_TEXT_LENGTH) {
    return false;
  }
  for (const position of DASH_POSITIONS) {
    if (text.charCodeAt(position) !== DASH) {
      return false;
    }
  }
  for (let i = 0; i < ID_BYTES; i++) {
    const position = BYTE_POSITIONS[i] as number;
    const high = HEX_VALUES[text.charCodeAt(position)] ?? NOT_HEX;
    const low = HEX_VALUES[text.charCodeAt(position + 1)] ?? NOT_HEX;
    if ((high | low) === NOT_HEX) {
      return false;
    }
    target[i] = (high << 4) | low;
  }
  const version = (target[6] as number) >>> 4;
  const variant = (target[8] as number) >>> 6;
  return version === 7 && variant === 0b10;
}
