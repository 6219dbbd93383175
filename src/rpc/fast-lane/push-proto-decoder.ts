/**
 * Reads PushRequest and PushBatchRequest from protobuf's binary format, as encoders write it, several times faster than
 * generic code can; it judges no event.
 *
 * It takes only what is plain: fields that the contract has, in the wire type that it gives them, and ASCII in texts.
 * All else is for protobuf-es to read, or to refuse: so the two never differ in what they accept.
 *
 * Format: https://protobuf.dev/programming-guides/encoding/
 */
import type { Event, PushBatchRequest, PushRequest } from "../../../gen/stats/v1/stats_pb.js";

/** Tags of PushBatchRequest: field number and, in the low 3 bits, wire type. */
const EVENTS = (1 << 3) | 2;
const ACK = 2 << 3;
const ALL_OR_NOTHING = 3 << 3;

/** Tags of Event, and of PushRequest, which has the same fields and one more. */
const PROPERTY = (1 << 3) | 2;
const SECTION = 2 << 3;
const ITEM = 3 << 3;
const EVENT_ID = (4 << 3) | 2;
const PUSH_ACK = 5 << 3;

const ASCII_MAX = 0x7f;
const MORE = 0x80;
/** What the fifth byte of a varint may have: the upper 4 of 32 bits. */
const LAST_BITS_MAX = 0x0f;

/** The message that protobuf-es reads from these bytes, without unknown fields; undefined: it is not that plain. */
export function decodePush(bytes: Buffer): PushRequest | undefined {
  return new Scanner(bytes).readPush();
}

/** The same for many events. */
export function decodePushBatch(bytes: Buffer): PushBatchRequest | undefined {
  return new Scanner(bytes).readBatch();
}

/** Reads from front to back. What is not plain leaves it in a state from which it must not read on. */
class Scanner {
  readonly #bytes: Buffer;
  #position = 0;
  #isPlain = true;
  /** The last property, and where its bytes are. Most events have the one of the event before. */
  #property = "";
  #propertyStart = 0;

  constructor(bytes: Buffer) {
    this.#bytes = bytes;
  }

  readPush(): PushRequest | undefined {
    const message: PushRequest = {
      $typeName: "stats.v1.PushRequest",
      property: "",
      section: 0,
      item: 0,
      eventId: "",
      ack: 0,
    };
    while (this.#isPlain && this.#position < this.#bytes.length) {
      const tag = this.#bytes[this.#position++];
      if (tag === PUSH_ACK) {
        message.ack = this.#varint() | 0;
      } else {
        this.#readField(tag, message);
      }
    }
    return this.#isPlain && this.#position === this.#bytes.length ? message : undefined;
  }

  readBatch(): PushBatchRequest | undefined {
    const events: Event[] = [];
    let ack = 0;
    let allOrNothing = false;
    while (this.#isPlain && this.#position < this.#bytes.length) {
      switch (this.#bytes[this.#position++]) {
        case EVENTS:
          events.push(this.#event());
          break;
        case ACK:
          ack = this.#varint() | 0;
          break;
        case ALL_OR_NOTHING:
          allOrNothing = this.#varint() !== 0;
          break;
        default:
          return undefined;
      }
    }
    const isWhole = this.#isPlain && this.#position === this.#bytes.length;
    return isWhole ? { $typeName: "stats.v1.PushBatchRequest", events, ack, allOrNothing } : undefined;
  }

  #event(): Event {
    const length = this.#varint();
    const end = this.#position + length;
    const event: Event = { $typeName: "stats.v1.Event", property: "", section: 0, item: 0, eventId: "" };
    while (this.#isPlain && this.#position < end) {
      this.#readField(this.#bytes[this.#position++], event);
    }
    this.#isPlain &&= this.#position === end;
    return event;
  }

  #readField(tag: number | undefined, event: Event | PushRequest): void {
    switch (tag) {
      case PROPERTY:
        event.property = this.#readProperty();
        break;
      case SECTION:
        event.section = this.#varint();
        break;
      case ITEM:
        event.item = this.#varint();
        break;
      case EVENT_ID:
        event.eventId = this.#text();
        break;
      default:
        this.#isPlain = false;
    }
  }

  /** A varint of up to 32 bits. Behind the last byte there are zeros, and a position that is beyond the end. */
  #varint(): number {
    let byte = this.#bytes[this.#position++] ?? 0;
    if (byte < MORE) {
      return byte;
    }
    let value = byte & ASCII_MAX;
    for (let shift = 7; shift < 28; shift += 7) {
      byte = this.#bytes[this.#position++] ?? 0;
      value |= (byte & ASCII_MAX) << shift;
      if (byte < MORE) {
        return value;
      }
    }
    byte = this.#bytes[this.#position++] ?? 0;
    this.#isPlain &&= byte <= LAST_BITS_MAX;
    return (value | (byte << 28)) >>> 0;
  }

  #readProperty(): string {
    const length = this.#bytes[this.#position] ?? 0;
    if (length < MORE && length === this.#property.length && this.#isSameProperty(length)) {
      this.#position += 1 + length;
    } else {
      this.#propertyStart = this.#position + 1;
      this.#property = this.#text();
    }
    return this.#property;
  }

  #isSameProperty(length: number): boolean {
    const bytes = this.#bytes;
    const start = this.#position + 1;
    const other = this.#propertyStart;
    for (let i = 0; i < length; i++) {
      if (bytes[start + i] !== bytes[other + i]) {
        return false;
      }
    }
    return true;
  }

  #text(): string {
    const length = this.#varint();
    const start = this.#position;
    const end = start + length;
    this.#position = end;
    const bytes = this.#bytes;
    if (end > bytes.length) {
      this.#isPlain = false;
      return "";
    }
    let bits = 0;
    for (let i = start; i < end; i++) {
      bits |= bytes[i] as number;
    }
    this.#isPlain &&= bits <= ASCII_MAX;
    return bytes.toString("latin1", start, end);
  }
}
