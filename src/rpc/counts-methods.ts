/** The methods of CountsService: each reads a request, has it answered, and writes the answer. */
import type { MessageInitShape } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import {
  type BucketSchema,
  CountsService,
  type CoverageSchema,
  type QuerySeriesResponseSchema,
  type QueryTopRequest,
  type QueryTopResponseSchema,
} from "../../gen/stats/v1/counts_pb.js";
import { type Caller, isAllowed } from "../auth/token-store.js";
import type { Coverage } from "../counts/coverage.js";
import type { QueryCaller } from "../counts/query-pool.js";
import type { Bucket, Series, SeriesQuery } from "../counts/series.js";
import type { ItemCounts, ItemCountsQuery, Top, TopQuery } from "../counts/top.js";
import { PropertyDeniedError } from "../ingest/refusal.js";
import type { Clock } from "../util/clock.js";
import { PROPERTY_DENIED } from "./authentication.js";
import {
  GRANULARITIES,
  readCountsRequest,
  readSeriesRequest,
  readTopRequest,
  writePageToken,
} from "./counts-requests.js";
import { toConnectError } from "./errors.js";
import {
  type CallContext,
  intercept,
  type UnaryInterceptor,
  type UnaryMethod,
  unaryMethod,
} from "./unary-method.js";

/** Answers queries. */
export interface CountSource {
  series(query: SeriesQuery, caller: QueryCaller): Promise<Series>;
  top(query: TopQuery, caller: QueryCaller): Promise<Top>;
  itemCounts(query: ItemCountsQuery, caller: QueryCaller): Promise<ItemCounts>;
}

export interface CountsMethodsDeps {
  readonly counts: CountSource;
  readonly clock: Pick<Clock, "now">;
  /** Whether answers depend on who asks. */
  readonly hasTokens: boolean;
  /** Around each call; the first is the outermost. */
  readonly interceptors: readonly UnaryInterceptor[];
}

/** The methods of the API that only read; they are on both lanes, and on the stock lane by GET, too. */
export function createCountsMethods(deps: CountsMethodsDeps): UnaryMethod[] {
  const { counts, clock, interceptors } = deps;
  const { querySeries, queryTop, queryCounts } = CountsService.method;
  return [
    unaryMethod(querySeries, (request, call) =>
      answering(deps, call, async () => {
        requireAllowed(call.caller, [["property", request.property]]);
        const series = await counts.series(readSeriesRequest(request, clock.now()), call);
        return { answer: seriesAnswer(series), coverage: series.coverage };
      }),
    ),
    unaryMethod(queryTop, (request, call) =>
      answering(deps, call, async () => {
        const query = readTopRequest(request, allowedProperties(call.caller, request), clock.now());
        const top = await counts.top(query, call);
        return { answer: topAnswer(request, query, top), coverage: top.coverage };
      }),
    ),
    unaryMethod(queryCounts, (request, call) =>
      answering(deps, call, async () => {
        const query = readCountsRequest(request, clock.now());
        requireAllowed(
          call.caller,
          query.items.map(({ property }, index) => [`items[${index}].property`, property]),
        );
        const { counts: values, coverage } = await counts.itemCounts(query, call);
        return { answer: { counts: [...values], coverage: coverageAnswer(coverage) }, coverage };
      }),
    ),
  ].map((method) => intercept(method, interceptors));
}

/** @throws PropertyDeniedError that names each field with a property that the caller may not read */
function requireAllowed(
  caller: Caller | undefined,
  properties: readonly (readonly [field: string, property: string])[],
): void {
  const denied = properties.filter(([, property]) => !isAllowed(caller, property));
  if (denied.length > 0) {
    throw new PropertyDeniedError(denied.map(([field]) => ({ field, description: PROPERTY_DENIED.message })));
  }
}

/** @throws PropertyDeniedError when the request is for one that the caller may not read */
function allowedProperties(
  caller: Caller | undefined,
  { property }: QueryTopRequest,
): ReadonlySet<string> | undefined {
  if (property !== "") {
    requireAllowed(caller, [["property", property]]);
  }
  return caller?.properties;
}

async function answering<T>(
  { hasTokens, clock }: CountsMethodsDeps,
  call: CallContext,
  answer: () => Promise<{ readonly answer: T; readonly coverage: Coverage }>,
): Promise<T> {
  try {
    const { answer: message, coverage } = await answer();
    if (call.cacheableAnswer !== undefined) {
      setCaching(call.cacheableAnswer, coverage, hasTokens, clock.now());
    }
    return message;
  } catch (error) {
    throw toConnectError(error);
  }
}

/** How long an answer may be kept to which pushes can still add, in seconds: not longer than it takes to count them. */
const LIVE_MAX_AGE_S = 1;
/** The same for one to which only late rows and corrections can. */
const SETTLED_MAX_AGE_S = 60;

function setCaching(header: Headers, { end, settledAt }: Coverage, hasTokens: boolean, now: number): void {
  const maxAge = end <= Math.min(settledAt, now) ? SETTLED_MAX_AGE_S : LIVE_MAX_AGE_S;
  header.set("cache-control", hasTokens ? `private, max-age=${maxAge}` : `max-age=${maxAge}`);
  if (hasTokens) {
    // Origin: the header replaces the one that cors sets.
    header.set("vary", "Authorization, Origin");
  }
}

const GRANULARITY_OF = new Map([...GRANULARITIES].map(([granularity, unit]) => [unit, granularity]));

function seriesAnswer(series: Series): MessageInitShape<typeof QuerySeriesResponseSchema> {
  const { unit, buckets, total, previous, coverage, labels } = series;
  return {
    buckets: buckets.map(bucketAnswer),
    granularity: GRANULARITY_OF.get(unit) ?? 0,
    previous: (previous?.pairs ?? []).map((bucket) => (bucket ? { bucket: bucketAnswer(bucket) } : {})),
    totalCount: total,
    ...(previous && { previousTotalCount: previous.total }),
    coverage: coverageAnswer(coverage),
    names: [...labels],
  };
}

function bucketAnswer(bucket: Bucket): MessageInitShape<typeof BucketSchema> {
  return {
    startTime: timestampFromMs(bucket.start),
    endTime: timestampFromMs(bucket.end),
    count: bucket.count,
    partial: bucket.isPartial,
    incomplete: bucket.isIncomplete,
  };
}

function topAnswer(
  request: QueryTopRequest,
  { dimension }: TopQuery,
  { entries, hasMore, total, size, previousTotal, coverage }: Top,
): MessageInitShape<typeof QueryTopResponseSchema> {
  const last = entries.at(-1);
  return {
    entries: entries.map(({ property, section, item, count, previous, label, url }) => ({
      property,
      ...(dimension !== "property" && { section }),
      ...(dimension === "item" && { item }),
      count,
      ...(previous !== undefined && { previousCount: previous }),
      label,
      url,
    })),
    nextPageToken: hasMore && last !== undefined ? writePageToken(request, last) : "",
    totalCount: total,
    ...(previousTotal !== undefined && { previousTotalCount: previousTotal }),
    totalSize: size,
    coverage: coverageAnswer(coverage),
  };
}

function coverageAnswer(coverage: Coverage): MessageInitShape<typeof CoverageSchema> {
  return {
    startTime: timestampFromMs(coverage.start),
    endTime: timestampFromMs(coverage.end),
    freshTime: timestampFromMs(coverage.freshAt),
    settleTime: timestampFromMs(coverage.settledAt),
    incomplete: coverage.isIncomplete,
  };
}
