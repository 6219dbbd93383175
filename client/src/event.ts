/** What a caller pushes, and whether it can be sent at all; the rest of the rules is the service's to judge. */
import { parseEventId } from "../../src/event/event-id.js";
import { ID_BYTES } from "../../src/event/uuid.js";

/** "`item` in `section` of `property` was seen", once. */
export interface StatsEvent {
  /** What is counted: `^[a-z][a-z0-9_.-]{0,31}$`. */
  readonly property: string;
  /** From 1 to 4294967295. */
  readonly section: number;
  /** The item in the section, from 1 to 4294967295. */
  readonly item: number;
  /** A UUIDv7 in its 36-character form. Its time is the event's. Default: one is made when the event is pushed. */
  readonly eventId?: string | undefined;
}

/** What is wrong with one field of an event. */
export interface FieldViolation {
  /** Name in the contract, for example `event_id`. */
  readonly field: string;
  readonly description: string;
}

/** For people: each field with its rule. */
export function describeViolations(violations: readonly FieldViolation[]): string {
  return violations.map(({ field, description }) => `${field} ${description}`).join("; ");
}

const PROPERTY_MAX_CHARACTERS = 32;
const UINT32_MAX = 2 ** 32 - 1;
const UINT32_RULE = `must be a whole number from 1 to ${UINT32_MAX}`;

/** UTF-8 takes at most this for one UTF-16 unit. */
const UTF8_MAX_BYTES = 3;
/** All of an Event in a PushBatchRequest but its property: tags and lengths 9, two varints 10, the id 36. */
const EVENT_FIXED_BYTES = 55;

/** The most that an event can take in a request, in bytes. */
export const EVENT_MAX_BYTES = EVENT_FIXED_BYTES + UTF8_MAX_BYTES * PROPERTY_MAX_CHARACTERS;

/** What an event takes in a request at most, in bytes. */
export function eventBytes({ property }: StatsEvent): number {
  for (let i = 0; i < property.length; i++) {
    if (property.charCodeAt(i) > 0x7f) {
      return EVENT_FIXED_BYTES + UTF8_MAX_BYTES * property.length;
    }
  }
  return EVENT_FIXED_BYTES + property.length;
}

function isUint32(value: unknown): boolean {
  return typeof value === "number" && Number.isInteger(value) && value >= 1 && value <= UINT32_MAX;
}

const parsedId = new Uint8Array(ID_BYTES);

/** What keeps an event from being put into a request, whatever its type says; empty when nothing does. */
export function eventViolations(event: StatsEvent): FieldViolation[] {
  const { property, section, item, eventId }: Partial<StatsEvent> = event ?? {};
  const violations: FieldViolation[] = [];
  if (typeof property !== "string" || property === "" || property.length > PROPERTY_MAX_CHARACTERS) {
    violations.push({
      field: "property",
      description: `must be a text of 1 to ${PROPERTY_MAX_CHARACTERS} characters`,
    });
  }
  if (!isUint32(section)) {
    violations.push({ field: "section", description: UINT32_RULE });
  }
  if (!isUint32(item)) {
    violations.push({ field: "item", description: UINT32_RULE });
  }
  if (eventId !== undefined && (typeof eventId !== "string" || !parseEventId(eventId, parsedId))) {
    violations.push({ field: "event_id", description: "must be a UUIDv7 in its 36-character form" });
  }
  return violations;
}
