/** Keeps the page up to date with the service's status; it reads, and changes nothing but the page. */
import { addSample, axisTimes, chartTop, linePath, percentOf, silentSince } from "./samples.js";
import { clockTime, describe, judge, WARNING } from "./words.js";

/** @import { ServiceStatus } from "../../src/telemetry/service-status.js" */
/** @import { Sample, Values } from "./samples.js" */

const POLL_MS = 2_000;
/** In an outage the service takes a few seconds to answer. */
const TIMEOUT_MS = 5_000;

/** @type {Sample[]} */
let samples = [];
/** @type {number | undefined} */
let noAnswerSince;

for (;;) {
  await whenVisible();
  await poll();
  await new Promise((resolve) => setTimeout(resolve, POLL_MS));
}

async function whenVisible() {
  while (document.hidden) {
    await new Promise((resolve) => document.addEventListener("visibilitychange", resolve, { once: true }));
  }
}

async function poll() {
  try {
    samples = addSample(samples, await askStatus(), Date.now());
    show();
    noAnswerSince = undefined;
  } catch (error) {
    noAnswerSince ??= Date.now();
    showVerdict("silent", "No answer", `Since ${clockTime(noAnswerSince)}; still asking (${String(error)}).`);
  }
}

async function askStatus() {
  const answer = await fetch("status", { signal: AbortSignal.timeout(TIMEOUT_MS) });
  if (!answer.ok) {
    throw new Error(`/status: ${answer.status}`);
  }
  return answer.json();
}

function show() {
  const sample = /** @type {Sample} */ (samples.at(-1));
  const { level, verdict, reason } = judge(sample.status, silentSince(samples));
  showVerdict(level, verdict, reason);
  showSample(sample);
  showCountsPage(sample.status.countsPage);
  for (const chart of document.querySelectorAll("figure")) {
    draw(chart);
  }
}

/** @type {(level: string, verdict: string, reason: string) => void} */
function showVerdict(level, verdict, reason) {
  document.documentElement.dataset.level = level;
  document.title = `${verdict} – stats-service`;
  setText(document.querySelector("#verdict"), verdict);
  setText(document.querySelector("#reason"), reason);
}

/**
 * Sets only what differs, so that a screen reader says a verdict once.
 *
 * @type {(element: Element | null, text: string) => void}
 */
function setText(element, text) {
  if (element && element.textContent !== text) {
    element.textContent = text;
  }
}

/** @param {Sample} sample */
function showSample(sample) {
  const { queue, buffer } = sample.status;
  for (const [name, text] of Object.entries(describe(sample))) {
    const place = document.querySelector(`[data-text="${name}"]`);
    setText(place, text);
    place?.classList.toggle("wrong", text.startsWith(WARNING));
  }
  for (const [name, room] of Object.entries({ queue, buffer })) {
    document.querySelector(`[data-meter="${name}"]`)?.setAttribute("value", `${percentOf(room)}`);
  }
}

/** Links to the page with the counts, which is at another port of the same host. @param {ServiceStatus["countsPage"]} page */
function showCountsPage(page) {
  const link = /** @type {HTMLAnchorElement} */ (document.querySelector("#counts-page"));
  link.hidden = page === null;
  if (page !== null) {
    link.href = `${page.isTls ? "https" : "http"}://${location.hostname}:${page.port}/`;
  }
}

/** @param {HTMLElement} chart */
function draw(chart) {
  const names = /** @type {(keyof Values)[]} */ (chart.dataset.lines?.split(" "));
  const top = Number(chart.dataset.top ?? chartTop(samples, names));
  setText(chart.querySelector("small"), top.toLocaleString("en-US"));
  chart.querySelectorAll("path").forEach((line, i) => {
    line.setAttribute("d", linePath(samples, names[i] ?? "bufferRows", top));
  });
  const axis = chart.querySelector(".axis");
  axisTimes(samples).forEach((at, i) => {
    const label = axis?.children[i] ?? axis?.appendChild(document.createElement("span"));
    setText(label ?? null, clockTime(at).slice(0, 5));
  });
}
