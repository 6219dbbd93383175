/**
 * Sees to it that a name which an enum does not have is refused in JSON, not taken for an absent field; it reads nothing
 * else.
 *
 * Callers may know a newer contract than we do, so unknown fields are ignored, and protobuf-es then ignores unknown names
 * of enums, too. But `"ack": "DURABLE"` must not mean ACK_MODE_QUEUED. Such a name is read as a number that the enum does
 * not have either, and what judges the request refuses it, as it does any such number.
 */
import { type DescEnum, type DescMessage, isEnumJson, type JsonValue } from "@bufbuild/protobuf";
import { PROTOCOL_OPTIONS } from "./protocol-options.js";

/** No enum of the contract has a negative number. */
const UNKNOWN = -1;

type JsonObject = { [key: string]: JsonValue };

/** The enums in a message itself; those in messages inside it are not looked at. */
export class EnumNames {
  readonly #enums = new Map<string, DescEnum>();

  constructor(desc: DescMessage) {
    for (const field of desc.fields) {
      if (field.fieldKind === "enum") {
        this.#enums.set(field.name, field.enum).set(field.jsonName, field.enum);
      }
    }
  }

  /** Whether a message in JSON has a name that its enum does not have. */
  hasUnknown(message: JsonValue): boolean {
    return isObject(message) && this.#unknownIn(message).length > 0;
  }

  /** The same text, with numbers for such names. */
  replaceUnknown(text: string): string {
    let message: JsonValue;
    try {
      message = JSON.parse(text) as JsonValue;
    } catch {
      // protobuf-es says what is wrong with it.
      return text;
    }
    const unknown = isObject(message) ? this.#unknownIn(message) : [];
    return unknown.length === 0
      ? text
      : JSON.stringify({
          ...(message as JsonObject),
          ...Object.fromEntries(unknown.map((key) => [key, UNKNOWN])),
        });
  }

  #unknownIn(message: JsonObject): string[] {
    const unknown: string[] = [];
    for (const [key, desc] of this.#enums) {
      const name = message[key];
      if (typeof name === "string" && !isEnumJson(desc, name)) {
        unknown.push(key);
      }
    }
    return unknown;
  }
}

function isObject(message: JsonValue): message is JsonObject {
  return typeof message === "object" && message !== null && !Array.isArray(message);
}

/** Options with which connect reads a message from JSON. It decodes the text by what it is given here, if anything. */
export function jsonReadOptions(desc: DescMessage) {
  const names = new EnumNames(desc);
  const utf8 = new TextDecoder();
  const textDecoder = { decode: (bytes?: Uint8Array) => names.replaceUnknown(utf8.decode(bytes)) };
  return { ...PROTOCOL_OPTIONS.jsonOptions, textDecoder };
}
