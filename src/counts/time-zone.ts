/**
 * What the clock on the wall shows in a time zone, by the zone data of this Node; it knows nothing of buckets.
 *
 * A time on the wall is a number here: the milliseconds that UTC would show the same digits at. So calendar arithmetic
 * on it is that of `Date`'s UTC methods.
 */
import { DAY_MS } from "./time-units.js";

const SECOND_MS = 1_000;
/** Offsets are looked up a week apart: since 1970 no zone has changed its clock twice in a week. */
const WEEK_MS = 7 * DAY_MS;
/** Longer than any offset from UTC, so that a change of the clock near a time on the wall lies within it. */
const OFFSET_MAX_MS = DAY_MS;

/** Zones that are remembered: of a century of weeks each takes some 300 KB. */
const KNOWN_MAX = 64;
const known = new Map<string, TimeZone>();

/** The zone of an IANA name, in any case; undefined: there is none. Zones are shared, since they remember offsets. */
export function findTimeZone(name: string): TimeZone | undefined {
  const key = name.toLowerCase();
  const zone = known.get(key) ?? makeTimeZone(name);
  if (zone !== undefined && !known.has(key)) {
    if (known.size >= KNOWN_MAX) {
      known.clear();
    }
    known.set(key, zone);
  }
  return zone;
}

/** IANA names begin with a letter. Newer versions of Node take "+01:00" for a zone, too; PostgreSQL reads its sign the other way. */
const NAME_PATTERN = /^[a-z][\w+-]*(\/[\w+-]+)*$/i;

function makeTimeZone(name: string): TimeZone | undefined {
  if (!NAME_PATTERN.test(name)) {
    return undefined;
  }
  try {
    return new TimeZone(name);
  } catch {
    // RangeError: this Node knows no such zone.
    return undefined;
  }
}

/** One time zone. Instants are Unix time in milliseconds. */
export class TimeZone {
  /** As the caller spelt it. */
  readonly name: string;
  readonly #format: Intl.DateTimeFormat;
  /** Offsets at the beginning of weeks, by the number of the week since 1970. */
  readonly #offsets = new Map<number, number>();
  /** When the clock is changed in a week, by its number. */
  readonly #changes = new Map<number, number>();

  /** @throws RangeError when there is no such zone */
  constructor(name: string) {
    this.name = name;
    this.#format = new Intl.DateTimeFormat("en-US", {
      timeZone: name,
      calendar: "gregory",
      numberingSystem: "latn",
      hourCycle: "h23",
      year: "numeric",
      month: "numeric",
      day: "numeric",
      hour: "numeric",
      minute: "numeric",
      second: "numeric",
    });
  }

  /** How far the clock on the wall is ahead of UTC, in milliseconds. */
  offsetAt(instant: number): number {
    const week = Math.floor(instant / WEEK_MS);
    const offset = this.#offsetOfWeek(week);
    return this.#offsetOfWeek(week + 1) === offset || instant < this.#changeIn(week)
      ? offset
      : this.#offsetOfWeek(week + 1);
  }

  /** What the clock on the wall shows. */
  wallAt(instant: number): number {
    return instant + this.offsetAt(instant);
  }

  /** When the clock on the wall shows a time: once, twice where it is put back, or never where it is put forward. Ascending. */
  instantsOf(wall: number): number[] {
    const before = this.offsetAt(wall - OFFSET_MAX_MS);
    const after = this.offsetAt(wall + OFFSET_MAX_MS);
    return [...new Set([before, after])]
      .map((offset) => wall - offset)
      .filter((instant) => this.wallAt(instant) === wall)
      .sort((a, b) => a - b);
  }

  /** The first time that the clock on the wall shows a time; where it skips that, when it is put forward past it. */
  firstInstantOf(wall: number): number {
    return this.instantsOf(wall)[0] ?? this.changeBetween(wall - OFFSET_MAX_MS, wall + OFFSET_MAX_MS) ?? wall;
  }

  /** The first change of the clock after `from`, up to `to`, which is at most a week later; undefined: there is none. */
  changeBetween(from: number, to: number): number | undefined {
    const first = Math.floor(from / WEEK_MS);
    for (const week of [first, first + 1]) {
      if (this.#offsetOfWeek(week) !== this.#offsetOfWeek(week + 1)) {
        const change = this.#changeIn(week);
        if (change > from && change <= to) {
          return change;
        }
      }
    }
    return undefined;
  }

  #offsetOfWeek(week: number): number {
    let offset = this.#offsets.get(week);
    if (offset === undefined) {
      offset = this.#readOffset(week * WEEK_MS);
      this.#offsets.set(week, offset);
    }
    return offset;
  }

  /** For a week at whose ends the offset differs. */
  #changeIn(week: number): number {
    let change = this.#changes.get(week);
    if (change === undefined) {
      const before = this.#offsetOfWeek(week);
      let low = week * WEEK_MS;
      let high = low + WEEK_MS;
      while (high - low > SECOND_MS) {
        const middle = low + Math.floor((high - low) / 2 / SECOND_MS) * SECOND_MS;
        if (this.#readOffset(middle) === before) {
          low = middle;
        } else {
          high = middle;
        }
      }
      change = high;
      this.#changes.set(week, change);
    }
    return change;
  }

  #readOffset(instant: number): number {
    const parts: Partial<Record<Intl.DateTimeFormatPartTypes, number>> = {};
    for (const { type, value } of this.#format.formatToParts(instant)) {
      parts[type] = Number(value);
    }
    const { year = 0, month = 1, day, hour, minute, second } = parts;
    return Date.UTC(year, month - 1, day, hour, minute, second) - instant;
  }
}
