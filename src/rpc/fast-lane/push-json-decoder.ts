/**
 * Reads PushRequest from its JSON, as clients write it, several times faster than a parser for any JSON can; it judges
 * no event.
 *
 * It takes only what is plain: fields that the contract has, each once, whole numbers in digits, and printable ASCII
 * without escapes in texts. All else is for protobuf-es to read, or to refuse: so the two never differ in what they
 * accept.
 *
 * Format: https://protobuf.dev/programming-guides/json/
 */
import { AckMode, type PushRequest } from "../../../gen/stats/v1/stats_pb.js";

const TAB = 0x09;
const NEWLINE = 0x0a;
const RETURN = 0x0d;
const SPACE = 0x20;
const QUOTE = 0x22;
const COMMA = 0x2c;
const ZERO = 0x30;
const NINE = 0x39;
const COLON = 0x3a;
const BACKSLASH = 0x5c;
const BRACE_OPEN = 0x7b;
const BRACE_CLOSE = 0x7d;
const TILDE = 0x7e;

const UINT32_MAX = 0xffff_ffff;
const UINT32_DIGITS_MAX = 10;

/** The fields, each a bit. */
const PROPERTY = 1;
const SECTION = 2;
const ITEM = 4;
const EVENT_ID = 8;
const ACK = 16;

/** A field may go by its name in JSON and by the one in the contract. */
const KEYS = [
  { name: Buffer.from("property"), field: PROPERTY },
  { name: Buffer.from("section"), field: SECTION },
  { name: Buffer.from("id"), field: ITEM },
  { name: Buffer.from("item"), field: ITEM },
  { name: Buffer.from("eventId"), field: EVENT_ID },
  { name: Buffer.from("event_id"), field: EVENT_ID },
  { name: Buffer.from("ack"), field: ACK },
] as const;

const ACK_MODES: ReadonlyMap<string, AckMode> = new Map([
  ["ACK_MODE_UNSPECIFIED", AckMode.UNSPECIFIED],
  ["ACK_MODE_QUEUED", AckMode.QUEUED],
  ["ACK_MODE_DURABLE", AckMode.DURABLE],
]);

/** The property of the last request that was read: nearly all have the one of the request before. */
let lastProperty = "";

/** The message that protobuf-es reads from this text; undefined: it is not that plain. */
export function decodePushJson(bytes: Buffer): PushRequest | undefined {
  const message: PushRequest = {
    $typeName: "stats.v1.PushRequest",
    property: "",
    section: 0,
    item: 0,
    eventId: "",
    ack: AckMode.UNSPECIFIED,
  };
  return new Scanner(bytes).readInto(message) ? message : undefined;
}

/** Reads from front to back. What is not plain leaves it in a state from which it must not read on. */
class Scanner {
  readonly #bytes: Buffer;
  #position = 0;
  #isPlain = true;
  /** The fields that were read. */
  #seen = 0;

  constructor(bytes: Buffer) {
    this.#bytes = bytes;
  }

  /** False: what is in `message` means nothing. */
  readInto(message: PushRequest): boolean {
    this.#expect(BRACE_OPEN);
    do {
      this.#member(message);
    } while (this.#isPlain && this.#accepts(COMMA));
    this.#expect(BRACE_CLOSE);
    this.#skipSpace();
    return this.#isPlain && this.#position === this.#bytes.length;
  }

  #member(message: PushRequest): void {
    const field = this.#key();
    this.#isPlain &&= (this.#seen & field) === 0 && field !== 0;
    this.#seen |= field;
    this.#expect(COLON);
    switch (field) {
      case PROPERTY:
        message.property = this.#property();
        break;
      case SECTION:
        message.section = this.#uint32();
        break;
      case ITEM:
        message.item = this.#uint32();
        break;
      case EVENT_ID:
        message.eventId = this.#text();
        break;
      default:
        message.ack = this.#ackMode();
    }
  }

  /** The field that the next key names; 0 for any other. */
  #key(): number {
    const length = this.#textLength();
    const start = this.#position - 1 - length;
    for (const { name, field } of KEYS) {
      if (name.length === length && this.#isAt(start, name)) {
        return field;
      }
    }
    return 0;
  }

  #isAt(start: number, name: Buffer): boolean {
    for (let i = 0; i < name.length; i++) {
      if (this.#bytes[start + i] !== name[i]) {
        return false;
      }
    }
    return true;
  }

  #property(): string {
    const length = this.#textLength();
    const start = this.#position - 1 - length;
    if (length !== lastProperty.length || !this.#isText(start, lastProperty)) {
      lastProperty = this.#bytes.toString("latin1", start, start + length);
    }
    return lastProperty;
  }

  #isText(start: number, text: string): boolean {
    for (let i = 0; i < text.length; i++) {
      if (this.#bytes[start + i] !== text.charCodeAt(i)) {
        return false;
      }
    }
    return true;
  }

  #text(): string {
    const length = this.#textLength();
    const end = this.#position - 1;
    return this.#bytes.toString("latin1", end - length, end);
  }

  #ackMode(): AckMode {
    const mode = ACK_MODES.get(this.#text());
    this.#isPlain &&= mode !== undefined;
    return mode ?? AckMode.UNSPECIFIED;
  }

  /** Reads over a text, its end quote included, and gives its length without the quotes. */
  #textLength(): number {
    this.#expect(QUOTE);
    const bytes = this.#bytes;
    const start = this.#position;
    let end = start;
    let byte = bytes[end] ?? 0;
    while (byte !== QUOTE && byte >= SPACE && byte <= TILDE && byte !== BACKSLASH) {
      end += 1;
      byte = bytes[end] ?? 0;
    }
    this.#isPlain &&= byte === QUOTE;
    this.#position = end + 1;
    return end - start;
  }

  #uint32(): number {
    this.#skipSpace();
    const bytes = this.#bytes;
    const start = this.#position;
    let end = start;
    let value = 0;
    let byte = bytes[end] ?? 0;
    while (byte >= ZERO && byte <= NINE) {
      value = value * 10 + (byte - ZERO);
      end += 1;
      byte = bytes[end] ?? 0;
    }
    const digits = end - start;
    const hasLeadingZero = digits > 1 && bytes[start] === ZERO;
    this.#isPlain &&= digits > 0 && digits <= UINT32_DIGITS_MAX && !hasLeadingZero && value <= UINT32_MAX;
    this.#position = end;
    return value;
  }

  #expect(byte: number): void {
    this.#isPlain &&= this.#accepts(byte);
  }

  /** Reads over a byte, and the space before it, if it is there. */
  #accepts(byte: number): boolean {
    this.#skipSpace();
    if (this.#bytes[this.#position] !== byte) {
      return false;
    }
    this.#position += 1;
    return true;
  }

  #skipSpace(): void {
    let byte = this.#bytes[this.#position];
    while (byte === SPACE || byte === NEWLINE || byte === RETURN || byte === TAB) {
      this.#position += 1;
      byte = this.#bytes[this.#position];
    }
  }
}
