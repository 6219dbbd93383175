import { CallError } from "../../../../web/counts/api.js";
import { loadView } from "../../../../web/counts/load.js";
import { parseView } from "../../../../web/counts/view.js";

const NOW = Date.UTC(2026, 10, 28, 14, 7);
const COVERAGE = {
  startTime: "2026-11-21T18:00:00Z",
  endTime: "2026-11-28T14:15:00Z",
  freshTime: "2026-11-28T14:06:58Z",
};
const EMPTY_SERIES = { granularity: "GRANULARITY_HOUR", coverage: COVERAGE };

type Request = Record<string, unknown>;

/** Answers by method, or throws; keeps what was asked. */
function service(answers: Record<string, (request: Request) => unknown>) {
  const asked: [string, Request][] = [];
  const ask = (method: string, request: Request) => {
    asked.push([method, request]);
    return Promise.resolve(request).then((each) => answers[method]?.(each));
  };
  return { ask, asked };
}

const misfit = () => {
  throw new CallError("failed_precondition", "only days of UTC are left");
};

test("one property is asked for its series, and for its sections in the range that was counted", async () => {
  const { ask, asked } = service({
    QuerySeries: () => ({
      buckets: [
        { startTime: "2026-11-28T13:00:00Z", endTime: "2026-11-28T14:00:00Z", count: "12" },
        { startTime: "2026-11-28T14:00:00Z", endTime: "2026-11-28T15:00:00Z", partial: true },
      ],
      granularity: "GRANULARITY_HOUR",
      previous: [
        { bucket: { startTime: "2026-11-21T13:00:00Z", endTime: "2026-11-21T14:00:00Z", count: "8" } },
        {},
      ],
      totalCount: "12",
      previousTotalCount: "8",
      coverage: COVERAGE,
    }),
    QueryTop: () => ({
      entries: [{ property: "news", section: 3, count: "12", previousCount: "0", label: "Sports" }],
      totalCount: "12",
      totalSize: "1",
      coverage: COVERAGE,
    }),
  });
  const { series, top } = await loadView(parseView("?property=news&zone=UTC"), ask, NOW);
  expect(series).toMatchObject({
    buckets: [
      { start: Date.UTC(2026, 10, 28, 13), count: 12, partial: false, incomplete: false },
      { start: Date.UTC(2026, 10, 28, 14), count: 0, partial: true },
    ],
    previous: [{ count: 8 }, null],
    total: 12,
    previousTotal: 8,
    coverage: { freshAt: Date.UTC(2026, 10, 28, 14, 6, 58), settledAt: null, incomplete: false },
  });
  expect(top).toMatchObject({
    entries: [{ property: "news", section: 3, item: null, count: 12, previous: 0, label: "Sports", url: "" }],
    previousTotal: null,
    size: 1,
  });
  expect(asked).toEqual([
    [
      "QuerySeries",
      {
        property: "news",
        startTime: "2026-11-22T00:00:00.000Z",
        endTime: "2026-11-29T00:00:00.000Z",
        timeZone: "UTC",
        comparePrevious: true,
      },
    ],
    [
      "QueryTop",
      {
        dimension: "DIMENSION_SECTION",
        property: "news",
        startTime: "2026-11-21T18:00:00.000Z",
        endTime: "2026-11-29T00:00:00.000Z",
        timeZone: "UTC",
        comparePrevious: true,
        pageSize: 20,
      },
    ],
  ]);
});

test.each([
  ["?property=news&section=3", "DIMENSION_ITEM"],
  ["?property=news&list=items", "DIMENSION_ITEM"],
  ["?property=news", "DIMENSION_SECTION"],
  ["?property=news&section=3&item=42", undefined],
])("below the plot of %s is a list of %s", async (query, dimension) => {
  const { ask, asked } = service({
    QuerySeries: () => EMPTY_SERIES,
    QueryTop: () => ({ coverage: COVERAGE }),
  });
  await loadView(parseView(query), ask, NOW);
  expect(asked[1]?.[1].dimension).toBe(dimension);
});

test("of a range that does not fit the zone days of UTC are shown, with the reason", async () => {
  const { ask } = service({
    QuerySeries: ({ timeZone, granularity }) =>
      timeZone === "UTC" && granularity === "GRANULARITY_DAY" ? EMPTY_SERIES : misfit(),
  });
  const view = parseView("?property=news&section=3&item=42&by=hour&zone=Asia/Kolkata");
  const { span, instead } = await loadView(view, ask, NOW);
  expect(span).toMatchObject({ zone: "UTC", granularity: "day" });
  expect(instead).toBe("only days of UTC are left");
});

test("a range that fits nothing is refused with the service's word", async () => {
  const { ask } = service({ QueryTop: misfit });
  await expect(loadView(parseView("?zone=UTC"), ask, NOW)).rejects.toThrow("only days of UTC are left");
});

test("a zone that the service does not know is shown in UTC", async () => {
  const badRequest = {
    type: "google.rpc.BadRequest",
    debug: { fieldViolations: [{ field: "time_zone", description: "is not known" }] },
  };
  const { ask } = service({
    QueryTop: ({ timeZone }) => {
      if (timeZone !== "UTC") {
        throw new CallError("invalid_argument", "time_zone is not known", [badRequest]);
      }
      return { totalSize: "1", coverage: COVERAGE };
    },
  });
  expect((await loadView(parseView("?zone=America/Coyhaique"), ask, NOW)).span.zone).toBe("UTC");
});

test("other faults are not tried again", async () => {
  const { ask, asked } = service({
    QueryTop: () => {
      throw new CallError("permission_denied", "reading is closed");
    },
  });
  await expect(loadView(parseView(""), ask, NOW)).rejects.toMatchObject({ code: "permission_denied" });
  expect(asked).toHaveLength(1);
});

test.each([
  ["", true],
  ["3", false],
])("nothing in the range, and %p properties ever: isEmpty is %p", async (totalSize, isEmpty) => {
  const { ask } = service({
    QueryTop: ({ startTime }) => ({
      totalSize: startTime === "1970-01-01T00:00:00.000Z" ? totalSize : "0",
      coverage: COVERAGE,
    }),
  });
  expect((await loadView(parseView(""), ask, NOW)).isEmpty).toBe(isEmpty);
});
