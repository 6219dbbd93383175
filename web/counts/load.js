/** Gets what a view shows from the service; it touches no document. */
import { CallError, readSeries, readTop } from "./api.js";
import { coarser, granularityOf, spanOf, timesOf } from "./range.js";

/** @import { Series, Top } from "./api.js" */
/** @import { Span } from "./range.js" */
/** @import { View } from "./view.js" */

/** @typedef {(method: "QuerySeries" | "QueryTop", request: Record<string, unknown>) => Promise<any>} Ask */

/**
 * `span` is what was asked in the end, `instead` why it is not what was asked first. `isEmpty`: nothing has ever been
 * counted.
 *
 * @typedef {{ span: Span, instead: string | null, series: Series | null, top: Top | null, isEmpty: boolean }} Shown
 */

/** @param {View} view @param {Ask} ask @param {number} now @returns {Promise<Shown>} @throws {CallError} */
export async function loadView(view, ask, now) {
  const first = spanOf(view, now);
  const comparePrevious = view.compare;
  if (view.property === null) {
    const { span, instead, answer } = await askUntilItFits(first, (span) =>
      ask("QueryTop", {
        dimension: "DIMENSION_PROPERTY",
        ...timesOf(span),
        comparePrevious,
        pageSize: view.rows,
      }),
    );
    const top = readTop(answer);
    return { span, instead, series: null, top, isEmpty: top.size === 0 && (await isNothingCounted(ask)) };
  }
  const { span, instead, answer } = await askUntilItFits(first, (span) =>
    ask("QuerySeries", { ...keyOf(view), ...timesOf(span), ...granularityOf(span), comparePrevious }),
  );
  const series = readSeries(answer);
  const top = view.item === null ? await loadList(view, span, series, ask) : null;
  return { span, instead, series, top, isEmpty: false };
}

/** The list counts the same range as the series. @type {(view: View, span: Span, series: Series, ask: Ask) => Promise<Top>} */
async function loadList(view, span, series, ask) {
  const isOfItems = view.section !== null || view.list === "items";
  const { start, end } = series.coverage;
  const counted = { ...span, start, end: Math.max(span.end, end) };
  const request = {
    dimension: isOfItems ? "DIMENSION_ITEM" : "DIMENSION_SECTION",
    ...keyOf(view),
    ...timesOf(counted),
    comparePrevious: view.compare,
    pageSize: view.rows,
  };
  return readTop(await ask("QueryTop", request));
}

/** @param {View} view */
export function keyOf({ property, section, item }) {
  return { ...(property && { property }), ...(section && { section }), ...(item && { item }) };
}

/** Of old ranges only hours or days may be left, or days of UTC; then those are shown, and it is said.
 * @template Answer @param {Span} first @param {(span: Span) => Promise<Answer>} ask
 * @returns {Promise<{ span: Span, instead: string | null, answer: Answer }>} */
async function askUntilItFits(first, ask) {
  try {
    return { span: first, instead: null, answer: await ask(first) };
  } catch (error) {
    if (!(error instanceof CallError) || !isMisfit(error)) {
      throw error;
    }
    for (const span of coarser(first, error.fit)) {
      try {
        return { span, instead: error.message, answer: await ask(span) };
      } catch (again) {
        if (!(again instanceof CallError) || !isMisfit(again)) {
          throw again;
        }
      }
    }
    throw error;
  }
}

/** @param {CallError} error */
const isMisfit = ({ code, fields }) =>
  code === "failed_precondition" || (code === "invalid_argument" && fields.includes("time_zone"));

/** @param {Ask} ask */
async function isNothingCounted(ask) {
  const request = { dimension: "DIMENSION_PROPERTY", startTime: new Date(0).toISOString(), pageSize: 1 };
  return readTop(await ask("QueryTop", request)).size === 0;
}

/** The course of one property in a small plot. @param {string} property @param {Span} span @param {Ask} ask */
export async function loadCourse(property, span, ask) {
  return readSeries(await ask("QuerySeries", { property, ...timesOf(span), ...granularityOf(span) })).buckets;
}
