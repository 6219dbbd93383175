/** Where one is, and the settings of the view: links and fields that lead to other views. */
import { byId, element, keep, setAttribute, setText } from "./dom.js";
import { formatView, GRANULARITIES, PRESETS, within } from "./view.js";
import { bucketName } from "./words.js";
import { allZones, fromLocal, toLocal } from "./zone.js";

/** @import { Name } from "./api.js" */
/** @import { View } from "./view.js" */

/** @typedef {{ text: string, view: View }} Step */

const by = /** @type {HTMLSelectElement} */ (byId("by"));
const zone = /** @type {HTMLSelectElement} */ (byId("zone"));
const compare = /** @type {HTMLInputElement} */ (byId("compare"));
const other = byId("other");
const custom = byId("custom");
const from = /** @type {HTMLInputElement} */ (byId("from"));
const to = /** @type {HTMLInputElement} */ (byId("to"));

/** @param {() => View} current @param {(change: Partial<View>) => void} go */
export function startControls(current, go) {
  by.append(...GRANULARITIES.map(([id, text]) => element("option", { value: id }, text)));
  zone.append(...allZones().map((name) => element("option", { value: name }, name)));
  by.addEventListener("change", () => go({ by: by.value }));
  zone.addEventListener("change", () => go({ zone: zone.value }));
  compare.addEventListener("change", () => go({ compare: compare.checked }));
  other.addEventListener("click", () => {
    showCustom(custom.hidden === true);
    if (!custom.hidden) {
      from.focus();
    }
  });
  byId("custom-form").addEventListener("submit", (event) => {
    event.preventDefault();
    const range = { from: readField(from.value, current().zone), to: readField(to.value, current().zone) };
    const isRange = range.from !== null && range.to !== null && range.from < range.to;
    setText(byId("custom-fault"), isRange ? "" : "The end must come after the begin.");
    if (isRange) {
      go({ range: "custom", ...range });
    }
  });
}

/** @param {boolean} isOpen */
function showCustom(isOpen) {
  custom.hidden = !isOpen;
  setAttribute(other, "aria-expanded", String(isOpen));
}

/** @param {View} view */
export function showControls(view) {
  keep(
    byId("presets"),
    PRESETS,
    ([id]) => id,
    () => element("li", {}, element("a")),
    ({ firstElementChild: link }, [id, text]) => {
      if (link !== null) {
        setText(link, text);
        setAttribute(link, "href", formatView({ ...view, range: id, from: null, to: null }));
        setAttribute(link, "aria-current", view.range === id && "true");
      }
    },
  );
  by.value = view.by;
  setAttribute(byId("by-label"), "hidden", view.property === null);
  if (![...zone.options].some(({ value }) => value === view.zone)) {
    zone.append(element("option", { value: view.zone }, view.zone));
  }
  zone.value = view.zone;
  compare.checked = view.compare;
}

/** Puts the range that is shown into the fields, unless somebody writes there. @param {View} view @param {{ start: number, end: number }} counted */
export function showRange(view, counted) {
  setAttribute(other, "aria-current", view.range === "custom" && "true");
  if (view.range === "custom") {
    showCustom(true);
  }
  if (!custom.contains(document.activeElement)) {
    from.value = writeField(counted.start, view.zone);
    to.value = writeField(counted.end, view.zone);
  }
}

/** The way from all properties to what is shown. @param {View} view @param {readonly Name[]} names */
export function showTrail(view, names) {
  const { property, section, item } = view;
  /** @type {Step[]} */
  const steps = [{ text: "All properties", view: within(view, {}) }];
  if (property !== null) {
    steps.push({ text: names[0]?.label || property, view: within(view, { property }) });
  }
  if (section !== null) {
    steps.push({ text: names[1]?.label || `Section ${section}`, view: within(view, { property, section }) });
  }
  if (item !== null) {
    steps.push({ text: names[2]?.label || `Item ${item}`, view: within(view, { property, section, item }) });
  }
  const title = steps.at(-1)?.text ?? "";
  keep(
    byId("trail"),
    steps,
    (step) => String(steps.indexOf(step)),
    () => element("li", {}, element("a")),
    ({ firstElementChild: link }, { text, view: target }) => {
      if (link !== null) {
        const isHere = text === title && steps.at(-1)?.view === target;
        setText(link, text);
        setAttribute(link, "href", isHere ? null : formatView(target));
        setAttribute(link, "aria-current", isHere && "page");
      }
    },
  );
  byId("trail").hidden = steps.length === 1;
  setText(byId("title"), title);
  showLink(names[steps.length - 2]?.url ?? "");
  return title;
}

/** Links to the page that is counted, where the labels know it. @param {string} url */
function showLink(url) {
  const link = byId("page-link");
  const isSafe = /^https?:\/\//i.test(url);
  link.hidden = !isSafe;
  setAttribute(link, "href", isSafe && url);
  setText(link, url.replace(/^https?:\/\//i, ""));
}

/** What a range of the URL is called in the title of the page. @param {View} view */
export function rangeTitle(view) {
  const preset = PRESETS.find(([id]) => id === view.range);
  return (
    preset?.[1] ??
    bucketName(
      { start: view.from ?? 0, end: view.to ?? 0, count: 0, partial: false, incomplete: false },
      "week",
      view.zone,
    )
  );
}

/** @param {number} at @param {string} zone */
function writeField(at, zone) {
  const { year, month, day, hour, minute } = toLocal(at, zone);
  const two = (/** @type {number} */ value) => String(value).padStart(2, "0");
  return `${String(year).padStart(4, "0")}-${two(month)}-${two(day)}T${two(hour)}:${two(minute)}`;
}

/** @param {string} text @param {string} zone */
function readField(text, zone) {
  const [year, month, day, hour, minute] = text.split(/\D/).map(Number);
  return year === undefined || month === undefined || day === undefined || Number.isNaN(year)
    ? null
    : fromLocal(zone, year, month, day, hour, minute);
}
