/** Keeps the page up to date with the URL and with the service; it reads, and changes nothing but the page. */
import { CallError, call } from "./api.js";
import { rangeTitle, showControls, showRange, showTrail, startControls } from "./controls.js";
import { byId, setAttribute, setText } from "./dom.js";
import { ListPanel } from "./list-panel.js";
import { loadView } from "./load.js";
import { askForToken, showFirstEvent, showNotices, showPanel, showRefusal, startPanels } from "./panels.js";
import { SeriesPanel, showSum } from "./series-panel.js";
import { keepToken, readToken } from "./token.js";
import { formatView, parseView } from "./view.js";
import { dateWithTime, freshness, sentence, timeWithSeconds } from "./words.js";

/** @import { Ask, Shown } from "./load.js" */
/** @import { Notice } from "./panels.js" */
/** @import { View } from "./view.js" */

const REFRESH_MS = 5_000;
/** While there is nothing yet, whoever pushes the first event looks on. */
const REFRESH_EMPTY_MS = 1_000;

/** Nothing is shown to this caller, or by this service. */
const REFUSALS = ["permission_denied", "unimplemented"];
/** The service shows other views. */
const MISFITS = ["failed_precondition", "invalid_argument"];

/** @type {View} */
let view = parseView(location.search);
/** @type {number | undefined} */
let silentSince;
/** Is aborted when another view is wanted. */
let showing = new AbortController();

const list = new ListPanel();
const series = new SeriesPanel((start, end) => go({ range: "custom", from: start, to: end, by: "auto" }));
startControls(() => view, go);
startPanels((token) => {
  keepToken(token);
  showing.abort();
});
history.replaceState(null, "", formatView(view));
addEventListener("popstate", () => setView(parseView(location.search)));
addEventListener("click", followLink);

for (;;) {
  await whenVisible();
  showing = new AbortController();
  await pause(await refresh(showing.signal), showing.signal);
}

/** Shows the view with a change, as a new entry of the history. @param {Partial<View>} change */
function go(change) {
  const isPreset = change.range === undefined || change.range === "custom";
  const next = isPreset ? { ...view, ...change } : { ...view, from: null, to: null, ...change };
  history.pushState(null, "", formatView(next));
  setView(next);
}

/** @param {View} next */
function setView(next) {
  view = next;
  showing.abort();
}

/** Links to views of this page need no new document. @param {MouseEvent} event */
function followLink(event) {
  const link = event.target instanceof Element ? event.target.closest("a") : null;
  const isPlain = event.button === 0 && !event.ctrlKey && !event.metaKey && !event.shiftKey && !event.altKey;
  const href = link?.getAttribute("href");
  if (!link || !isPlain || !(href?.startsWith("?") || link.id === "home")) {
    return;
  }
  event.preventDefault();
  const isDeeper = link.closest(".list, .trail, .masthead") !== null && link.closest(".tabs, .more") === null;
  history.pushState(null, "", link.id === "home" ? formatView(parseView("")) : link.href);
  setView(parseView(location.search));
  if (isDeeper) {
    byId("main").focus({ preventScroll: true });
    scrollTo(0, 0);
  }
}

/** Asks and shows; resolves with the time until the next. @param {AbortSignal} signal @returns {Promise<number>} */
async function refresh(signal) {
  const token = readToken();
  /** @type {Ask} */
  const ask = (method, request) => call(method, request, { token, signal });
  const asked = view;
  try {
    const shown = await loadView(asked, ask, Date.now());
    signal.throwIfAborted();
    silentSince = undefined;
    show(asked, shown, token !== null);
    if (asked.property === null) {
      // They only accompany the counts; what is wrong with the service the next question for counts tells.
      await list.loadCourses(shown.span, ask, Date.now()).catch(() => {});
    }
    return shown.isEmpty ? REFRESH_EMPTY_MS : REFRESH_MS;
  } catch (error) {
    if (!signal.aborted) {
      showFault(error, token !== null);
    }
    return REFRESH_MS;
  }
}

/** @param {View} asked @param {Shown} shown @param {boolean} hasToken */
function show(asked, shown, hasToken) {
  const { span, top } = shown;
  setAttribute(document.body, "data-stale", null);
  byId("forget").hidden = !hasToken;
  if (shown.isEmpty) {
    document.title = "Counts – stats-service";
    showFirstEvent(hasToken);
    showNotices([]);
    return;
  }
  showPanel("view");
  showControls(asked);
  const title = showTrail(asked, shown.series?.names ?? []);
  document.title = `${title}, ${rangeTitle(asked)} – counts`;
  const sum = shown.series ?? top;
  byId("summary").hidden = sum === null;
  if (sum !== null) {
    showSum(sum, span.zone);
    showRange({ ...asked, zone: span.zone }, sum.coverage);
    showCoverage(shown, sum.coverage);
  }
  const fileName = [asked.property ?? "properties", asked.section, asked.item]
    .filter((part) => part !== null)
    .join("-");
  document.body.toggleAttribute("data-compared", asked.compare);
  if (shown.series === null) {
    series.hide();
  } else {
    series.show({ series: shown.series, zone: span.zone, fileName }, title);
  }
  if (top === null) {
    list.hide();
  } else {
    list.show(top, asked, fileName);
  }
}

/** @param {Shown} shown @param {import("./api.js").Coverage} coverage */
function showCoverage({ span, instead }, coverage) {
  const { text, isLate } = freshness(coverage, Date.now(), span.zone);
  /** @type {Notice[]} */
  const notices = [
    ...(instead === null ? [] : [{ text: `${sentence(instead)} Shown in ${span.zone} instead.` }]),
    ...(coverage.incomplete
      ? [{ text: "Some rows of this range went before they were counted. Counts with ≥ are lower bounds." }]
      : []),
    ...(isLate ? [{ text: `${text}.` }] : []),
  ];
  showNotices(notices);
  setText(byId("fresh"), isLate ? "" : text);
  const settled = coverage.settledAt;
  setText(
    byId("settled"),
    settled === null ? "" : `Pushes can still add to what is after ${dateWithTime(settled, span.zone)}.`,
  );
}

/** @param {unknown} error @param {boolean} hasToken */
function showFault(error, hasToken) {
  const fault = error instanceof CallError ? error : new CallError("internal", String(error));
  setText(byId("fresh"), "");
  if (fault.code === "unauthenticated") {
    keepToken(null);
    byId("forget").hidden = true;
    showNotices([]);
    askForToken(hasToken ? `The service does not take this token. ${sentence(fault.message)}` : "");
  } else if (REFUSALS.includes(fault.code)) {
    showNotices([]);
    showRefusal(fault, hasToken);
  } else if (MISFITS.includes(fault.code)) {
    showMisfit(fault);
  } else {
    silentSince ??= Date.now();
    setAttribute(document.body, "data-stale", true);
    const since = timeWithSeconds(silentSince, view.zone);
    showNotices([{ text: `No answer since ${since}; asking again. (${fault.message})`, isBad: true }]);
  }
}

/** What is asked for cannot be shown so; the controls lead to what can. @param {CallError} fault */
function showMisfit({ message }) {
  showPanel("view");
  showControls(view);
  showTrail(view, []);
  byId("summary").hidden = true;
  series.hide();
  list.hide();
  showNotices([{ text: `This cannot be shown. ${sentence(message)}` }]);
}

async function whenVisible() {
  while (document.hidden) {
    await new Promise((resolve) => document.addEventListener("visibilitychange", resolve, { once: true }));
  }
}

/** Ends early when another view is wanted. @param {number} ms @param {AbortSignal} signal */
async function pause(ms, signal) {
  if (!signal.aborted) {
    await new Promise((resolve) => {
      setTimeout(resolve, ms);
      signal.addEventListener("abort", resolve, { once: true });
    });
  }
}
