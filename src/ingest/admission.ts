/**
 * Admission: judges an event, and decides all of it that is not the caller's to decide (id, time); it never
 * queues.
 */

import { type EventIds, parseEventId } from "../event/event-id.js";
import { truncateInet } from "../event/inet.js";
import { PROPERTY_MAX_BYTES, uuidv7TimeMs } from "../event/tuple-codec.js";
import { ID_BYTES } from "../event/uuid.js";
import type { Clock } from "../util/clock.js";
import type { AdmittedEvent } from "./batch.js";
import {
  AHEAD_OF_CLOCK,
  AheadOfClockError,
  type FieldViolation,
  InvalidEventError,
  type Refusal,
} from "./refusal.js";

/** An event as a caller sends it. */
export interface EventInput {
  readonly property: string;
  readonly section: number;
  readonly item: number;
  /** Empty: the service makes one. */
  readonly eventId: string;
}

/** How far the time of a caller's event id may lie in the past, in milliseconds. */
const EVENT_ID_MAX_AGE_MS = 7 * 24 * 60 * 60 * 1000;
/** How far it may lie in the future, in milliseconds: clocks differ. */
const EVENT_ID_MAX_AHEAD_MS = 5 * 60 * 1000;
/** How far ahead it may lie to be refused for now only: a clock that is off, perhaps ours, or a wrong time zone. */
const EVENT_ID_CURABLE_AHEAD_MS = 24 * 60 * 60 * 1000;
/** When to try such an event again, in milliseconds: a clock that is set right changes at once. */
const AHEAD_RETRY_MIN_MS = 1_000;
const AHEAD_RETRY_MAX_MS = 60_000;

/** What is stored of a caller's address: all of it, the network it is in, or nothing. */
export const REMOTE_IP_POLICIES = ["store", "truncate", "drop"] as const;
export type RemoteIpPolicy = (typeof REMOTE_IP_POLICIES)[number];

const NO_ADDRESS = new Uint8Array(0);

/** What a property looks like. */
export const PROPERTY_PATTERN = /^[a-z][a-z0-9_.-]{0,31}$/;

export interface AdmissionDeps {
  readonly clock: Clock;
  readonly ids: EventIds;
  /** Properties that are accepted; undefined: any that has the right form. */
  readonly properties: ReadonlySet<string> | undefined;
  /** Default: store. */
  readonly remoteIp?: RemoteIpPolicy;
  /** Hears of each event whose time lies ahead of the clock. Default: nobody does. */
  readonly onAheadOfClock?: () => void;
}

/** Turns what callers send into events whose bytes are decided. */
export class Admission {
  readonly #clock: Clock;
  readonly #ids: EventIds;
  readonly #properties: ReadonlySet<string> | undefined;
  readonly #remoteIp: RemoteIpPolicy;
  readonly #onAheadOfClock: () => void;
  /** The address that was truncated last, and what became of it: a caller's events come together. */
  #lastInet: Uint8Array = NO_ADDRESS;
  #lastNetwork: Uint8Array = NO_ADDRESS;
  /** Every event's id is made here; encoding copies it out before the next event comes. */
  readonly #id = new Uint8Array(ID_BYTES);
  /** One that was accepted. */
  #lastProperty: string | undefined;

  constructor(deps: AdmissionDeps) {
    this.#clock = deps.clock;
    this.#ids = deps.ids;
    this.#properties = deps.properties;
    this.#remoteIp = deps.remoteIp ?? "store";
    this.#onAheadOfClock = deps.onAheadOfClock ?? (() => undefined);
  }

  /**
   * Judges an event from the address `inet` (PostgreSQL's binary form; empty when not known). Encode the result
   * before the next call: its id is overwritten then.
   *
   * @throws InvalidEventError that names every field at fault, and those of `alsoWrong`
   * @throws AheadOfClockError when nothing is wrong but its time
   */
  admit(input: EventInput, inet: Uint8Array, alsoWrong?: FieldViolation): AdmittedEvent {
    const event = alsoWrong === undefined ? this.tryAdmit(input, inet) : undefined;
    if (event === undefined) {
      const violations = [...this.violations(input), ...(alsoWrong ? [alsoWrong] : [])];
      throw violations.length > 0
        ? new InvalidEventError(violations)
        : new AheadOfClockError(this.#aheadRetryMs());
    }
    return event;
  }

  /** The same without an error: undefined when a field is at fault, and {@link Admission.refusal} says why. */
  tryAdmit(input: EventInput, inet: Uint8Array): AdmittedEvent | undefined {
    const { property, section, item, eventId } = input;
    if (!this.#isAccepted(property) || section === 0 || item === 0 || !this.#makeId(eventId)) {
      return undefined;
    }
    const kept = this.#remoteIp === "store" ? inet : this.#reduce(inet);
    return { id: this.#id, property, section, itemId: item, inet: kept };
  }

  /** Why {@link Admission.tryAdmit} does not admit an event. */
  refusal(input: EventInput): Refusal {
    const violations = this.violations(input);
    return violations.length > 0
      ? { reason: "invalid", message: "the event is invalid", violations }
      : { reason: "ahead_of_clock", message: AHEAD_OF_CLOCK, retryAfterMs: this.#aheadRetryMs() };
  }

  /** When to try the event again whose id was judged last, and whose time lies ahead. */
  #aheadRetryMs(): number {
    this.#onAheadOfClock();
    const aheadMs = uuidv7TimeMs(this.#id) - this.#clock.now() - EVENT_ID_MAX_AHEAD_MS;
    return Math.max(AHEAD_RETRY_MIN_MS, Math.min(aheadMs, AHEAD_RETRY_MAX_MS));
  }

  /** Every field of an event that is at fault, whenever it is judged. */
  violations(input: EventInput): FieldViolation[] {
    return [...this.#violations(input)];
  }

  #reduce(inet: Uint8Array): Uint8Array {
    if (this.#remoteIp === "drop" || inet.length === 0) {
      return NO_ADDRESS;
    }
    if (inet !== this.#lastInet) {
      this.#lastInet = inet;
      this.#lastNetwork = truncateInet(inet);
    }
    return this.#lastNetwork;
  }

  #isAccepted(property: string): boolean {
    // Most events have the property of the one before.
    if (property === this.#lastProperty) {
      return true;
    }
    if (!PROPERTY_PATTERN.test(property) || this.#properties?.has(property) === false) {
      return false;
    }
    this.#lastProperty = property;
    return true;
  }

  /** Puts the event's id in place; false when the caller's is not acceptable. */
  #makeId(eventId: string): boolean {
    if (eventId === "") {
      this.#ids.next(this.#id);
      return true;
    }
    return parseEventId(eventId, this.#id) && this.#isTimely();
  }

  #isTimely(): boolean {
    const ageMs = this.#clock.now() - uuidv7TimeMs(this.#id);
    return ageMs <= EVENT_ID_MAX_AGE_MS && ageMs >= -EVENT_ID_MAX_AHEAD_MS;
  }

  *#violations(input: EventInput): Generator<FieldViolation> {
    const property = propertyFault(input.property, this.#properties);
    if (property !== undefined) {
      yield { field: "property", description: property };
    }
    if (input.section === 0) {
      yield { field: "section", description: "must be from 1 to 4294967295" };
    }
    if (input.item === 0) {
      yield { field: "item", description: "must be from 1 to 4294967295" };
    }
    const eventId = input.eventId === "" ? undefined : this.#eventIdFault(input.eventId);
    if (eventId !== undefined) {
      yield { field: "event_id", description: eventId };
    }
  }

  #eventIdFault(eventId: string): string | undefined {
    if (!parseEventId(eventId, this.#id)) {
      return "must be a UUIDv7 in its 36-character form, or empty";
    }
    const aheadMs = uuidv7TimeMs(this.#id) - this.#clock.now();
    const isCurable = aheadMs > EVENT_ID_MAX_AHEAD_MS && aheadMs <= EVENT_ID_CURABLE_AHEAD_MS;
    return this.#isTimely() || isCurable
      ? undefined
      : "its time must lie within the last 7 days and the next 5 minutes";
  }
}

function propertyFault(property: string, allowed: ReadonlySet<string> | undefined): string | undefined {
  if (property === "") {
    return "is required";
  }
  if (property.length > PROPERTY_MAX_BYTES) {
    return `must have at most ${PROPERTY_MAX_BYTES} characters`;
  }
  if (!PROPERTY_PATTERN.test(property)) {
    return `must match ${PROPERTY_PATTERN.source}`;
  }
  if (allowed?.has(property) === false) {
    return "is not one of the properties that this service accepts";
  }
  return undefined;
}
