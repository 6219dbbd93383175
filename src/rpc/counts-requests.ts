/** Judges the requests of CountsService and reads them into queries; every field at fault is named at once. */
import { createHash } from "node:crypto";
import { create, toBinary } from "@bufbuild/protobuf";
import { type Timestamp, timestampMs } from "@bufbuild/protobuf/wkt";
import {
  Dimension,
  Granularity,
  type QueryCountsRequest,
  type QuerySeriesRequest,
  type QueryTopRequest,
  QueryTopRequestSchema,
} from "../../gen/stats/v1/counts_pb.js";
import { type BucketUnit, bucketEdges, type TimeRange } from "../counts/calendar.js";
import { BUCKETS_MAX } from "../counts/coverage.js";
import type { SeriesQuery } from "../counts/series.js";
import { DAY_MS } from "../counts/time-units.js";
import { findTimeZone, type TimeZone } from "../counts/time-zone.js";
import type { ItemCountsQuery, Position, Dimension as TopDimension, TopQuery } from "../counts/top.js";
import { PROPERTY_PATTERN } from "../ingest/admission.js";
import { type FieldViolation, RefusedError } from "../ingest/refusal.js";

/** The bucket units by their names in the contract. */
export const GRANULARITIES: ReadonlyMap<Granularity, BucketUnit> = new Map([
  [Granularity.QUARTER_HOUR, "quarterHour"],
  [Granularity.HOUR, "hour"],
  [Granularity.DAY, "day"],
  [Granularity.WEEK, "week"],
  [Granularity.MONTH, "month"],
]);

const DIMENSIONS: ReadonlyMap<Dimension, TopDimension> = new Map([
  [Dimension.PROPERTY, "property"],
  [Dimension.SECTION, "section"],
  [Dimension.ITEM, "item"],
]);

const ITEMS_MAX = 1_000;
const PAGE_SIZE_DEFAULT = 20;
const PAGE_SIZE_MAX = 1_000;
/** More faults than this are not listed: those of a thousand items would be longer than the request. */
const VIOLATIONS_MAX = 100;
/** What ranges may reach to: there is nothing to count far from today, and zones have no rules for then. */
const TIME_MAX_MS = Date.UTC(2100, 0, 1);
const UINT32_RULE = "must be from 1 to 4294967295";

/** A request broke the rules; every field at fault is named. */
export class InvalidQueryError extends RefusedError {
  override readonly name = "InvalidQueryError";
  readonly reason = "invalid";
  override readonly violations: readonly FieldViolation[];

  constructor(violations: readonly FieldViolation[]) {
    super(violations.map(({ field, description }) => `${field}: ${description}`).join("; "));
    this.violations = violations;
  }
}

/** Collects what is wrong with a request. */
class Faults {
  readonly #violations: FieldViolation[] = [];

  add(field: string, description: string): void {
    if (this.#violations.length < VIOLATIONS_MAX) {
      this.#violations.push({ field, description });
    }
  }

  get areNone(): boolean {
    return this.#violations.length === 0;
  }

  /** @throws InvalidQueryError when there are some */
  throwIfAny(): void {
    if (!this.areNone) {
      throw new InvalidQueryError(this.#violations);
    }
  }
}

/** @throws InvalidQueryError */
export function readSeriesRequest(request: QuerySeriesRequest, now: number): SeriesQuery {
  const faults = new Faults();
  const { property, section, item } = request;
  judgeProperty(faults, "property", property, true);
  judgeNumber(faults, "section", section);
  judgeNumber(faults, "item", item);
  if (item !== undefined && section === undefined) {
    faults.add("section", "is required with item");
  }
  const { zone, range } = readRange(faults, request, now);
  const unit = GRANULARITIES.get(request.granularity);
  if (unit === undefined && request.granularity !== Granularity.UNSPECIFIED) {
    faults.add("granularity", "must be a Granularity, or unspecified");
  }
  if (faults.areNone && unit !== undefined) {
    const shown = { start: range.start, end: Math.min(range.end, now) };
    if (bucketEdges(zone, unit, shown, BUCKETS_MAX) === undefined) {
      faults.add("granularity", `gives more than ${BUCKETS_MAX} buckets in this range; take a longer one`);
    }
  }
  faults.throwIfAny();
  return {
    key: { property, section, item },
    range,
    zone,
    unit,
    comparesPrevious: request.comparePrevious,
  };
}

/** `properties` are those that the caller may read. @throws InvalidQueryError */
export function readTopRequest(
  request: QueryTopRequest,
  properties: ReadonlySet<string> | undefined,
  now: number,
): TopQuery {
  const faults = new Faults();
  const { property, section, pageSize, pageToken } = request;
  const dimension = DIMENSIONS.get(request.dimension);
  if (dimension === undefined) {
    faults.add("dimension", "is required: DIMENSION_PROPERTY, DIMENSION_SECTION or DIMENSION_ITEM");
  }
  judgeProperty(faults, "property", property, false);
  judgeNumber(faults, "section", section);
  if (section !== undefined && property === "") {
    faults.add("property", "is required with section");
  }
  if (section !== undefined && dimension === "property") {
    faults.add("section", "is not for DIMENSION_PROPERTY");
  }
  const { zone, range } = readRange(faults, request, now);
  if (pageSize < 0 || pageSize > PAGE_SIZE_MAX) {
    faults.add("page_size", `must be from 1 to ${PAGE_SIZE_MAX}, or 0 for ${PAGE_SIZE_DEFAULT}`);
  }
  const after = pageToken === "" ? undefined : readPageToken(request);
  if (pageToken !== "" && after === undefined) {
    faults.add("page_token", "must be the next_page_token of an answer to the same request");
  }
  faults.throwIfAny();
  return {
    dimension: dimension ?? "property",
    filter: { property: property === "" ? undefined : property, section, properties },
    range,
    zone,
    pageSize: pageSize === 0 ? PAGE_SIZE_DEFAULT : pageSize,
    after,
    comparesPrevious: request.comparePrevious,
  };
}

/** @throws InvalidQueryError */
export function readCountsRequest(request: QueryCountsRequest, now: number): ItemCountsQuery {
  const faults = new Faults();
  const { items } = request;
  if (items.length === 0 || items.length > ITEMS_MAX) {
    faults.add("items", `must have from 1 to ${ITEMS_MAX} entries`);
  } else {
    for (const [index, { property, section, item }] of items.entries()) {
      judgeProperty(faults, `items[${index}].property`, property, true);
      judgeNumber(faults, `items[${index}].section`, section);
      judgeNumber(faults, `items[${index}].item`, item);
    }
  }
  const { zone, range } = readRange(faults, request, now);
  faults.throwIfAny();
  return { items, range, zone };
}

function judgeProperty(faults: Faults, field: string, property: string, isRequired: boolean): void {
  if (property === "" ? isRequired : !PROPERTY_PATTERN.test(property)) {
    faults.add(field, property === "" ? "is required" : `must match ${PROPERTY_PATTERN.source}`);
  }
}

function judgeNumber(faults: Faults, field: string, value: number | undefined): void {
  if (value === 0) {
    faults.add(field, UINT32_RULE);
  }
}

interface RangeFields {
  readonly startTime?: Timestamp | undefined;
  readonly endTime?: Timestamp | undefined;
  readonly timeZone: string;
}

/** What it gives is of use only if it adds no faults. */
function readRange(
  faults: Faults,
  { startTime, endTime, timeZone }: RangeFields,
  now: number,
): { readonly zone: TimeZone; readonly range: TimeRange } {
  const zone = findTimeZone(timeZone === "" ? "UTC" : timeZone);
  if (zone === undefined) {
    faults.add("time_zone", "must be the name of a time zone in the IANA database, such as Europe/Berlin");
  }
  const end = endTime === undefined ? now : readTime(faults, "end_time", endTime);
  const start = startTime === undefined ? (end ?? now) - DAY_MS : readTime(faults, "start_time", startTime);
  if (start !== undefined && end !== undefined) {
    if (end <= start) {
      faults.add("end_time", "must be later than start_time");
    } else if (start >= now) {
      faults.add("start_time", "must not lie in the future");
    }
  }
  return { zone: zone as TimeZone, range: { start: start ?? 0, end: end ?? 0 } };
}

function readTime(faults: Faults, field: string, time: Timestamp): number | undefined {
  const ms = timestampMs(time);
  if (!(ms >= 0 && ms <= TIME_MAX_MS)) {
    faults.add(field, "must lie between 1970 and 2100");
    return undefined;
  }
  return ms;
}

/** What `next_page_token` is after an entry: where it stands, and which request it belongs to. Only we can read it. */
export function writePageToken(
  request: QueryTopRequest,
  { count, property, section, item }: Position,
): string {
  return Buffer.from(
    JSON.stringify([fingerprintOf(request), String(count), property, section, item]),
  ).toString("base64url");
}

/** undefined: it is not one of an answer to this request. */
function readPageToken(request: QueryTopRequest): Position | undefined {
  let parts: unknown;
  try {
    parts = JSON.parse(Buffer.from(request.pageToken, "base64url").toString("utf8"));
  } catch {
    return undefined;
  }
  const [fingerprint, count, property, section, item] = Array.isArray(parts) ? (parts as unknown[]) : [];
  return fingerprint === fingerprintOf(request) &&
    typeof count === "string" &&
    /^\d{1,18}$/.test(count) &&
    typeof property === "string" &&
    !property.includes("\0") &&
    Number.isSafeInteger(section) &&
    Number.isSafeInteger(item)
    ? { count: BigInt(count), property, section: section as number, item: item as number }
    : undefined;
}

const FINGERPRINT_CHARACTERS = 16;

/** The same for two requests that differ in nothing but the token. */
function fingerprintOf(request: QueryTopRequest): string {
  const bytes = toBinary(
    QueryTopRequestSchema,
    create(QueryTopRequestSchema, { ...request, pageToken: "" }),
    { writeUnknownFields: false },
  );
  return createHash("sha256").update(bytes).digest("base64url").slice(0, FINGERPRINT_CHARACTERS);
}
