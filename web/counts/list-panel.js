/** The list of what has the highest counts: names, bars, shares, changes, and small plots of properties. */
import { topCsv } from "./csv.js";
import { byId, download, element, keep, setAttribute, setText } from "./dom.js";
import { loadCourse } from "./load.js";
import { cells } from "./series-panel.js";
import { drawSparkline, makeSparkline } from "./sparkline.js";
import { formatView, ROWS, within } from "./view.js";
import { bounded, change, entryName, number, share } from "./words.js";

/** @import { Bucket, Entry, Top } from "./api.js" */
/** @import { Ask } from "./load.js" */
/** @import { Span } from "./range.js" */
/** @import { View } from "./view.js" */

/** Small plots are asked for this many at a time, and again when they are older than this. */
const COURSES_AT_ONCE = 2;
const COURSE_MAX_AGE_MS = 30_000;

export class ListPanel {
  /** @type {{ top: Top, fileName: string } | undefined} */
  #shown;
  /** The courses of properties, for one span. @type {Map<string, { at: number, buckets: Bucket[] }>} */
  #courses = new Map();
  #coursesOf = "";

  constructor() {
    byId("list-csv").addEventListener("click", () => {
      if (this.#shown !== undefined) {
        download(`${this.#shown.fileName}-list.csv`, topCsv(this.#shown.top));
      }
    });
  }

  /** @param {Top} top @param {View} view @param {string} fileName */
  show(top, view, fileName) {
    this.#shown = { top, fileName };
    byId("list").hidden = false;
    this.#showHead(top, view);
    const highest = Math.max(1, ...top.entries.map(({ count }) => count));
    keep(
      byId("list-rows"),
      top.entries,
      entryKey,
      (entry) => makeRow(entry),
      (row, entry) => updateRow(row, entry, { top, view, highest }),
    );
    this.#drawCourses();
  }

  hide() {
    this.#shown = undefined;
    byId("list").hidden = true;
  }

  /** Asks for the small plots that are missing or old; they show as they come. @param {Span} span @param {Ask} ask @param {number} now */
  async loadCourses(span, ask, now) {
    const spanKey = JSON.stringify([span.zone, span.start, span.end]);
    if (spanKey !== this.#coursesOf) {
      this.#courses.clear();
      this.#coursesOf = spanKey;
    }
    const wanted = (this.#shown?.top.entries ?? [])
      .map(({ property }) => property)
      .filter((property) => now - (this.#courses.get(property)?.at ?? 0) > COURSE_MAX_AGE_MS);
    const worker = async () => {
      for (let property = wanted.shift(); property !== undefined; property = wanted.shift()) {
        this.#courses.set(property, { at: now, buckets: await loadCourse(property, span, ask) });
        this.#drawCourses();
      }
    };
    await Promise.all(Array.from({ length: COURSES_AT_ONCE }, worker));
  }

  #drawCourses() {
    for (const [i, { property, section }] of (this.#shown?.top.entries ?? []).entries()) {
      const svg = byId("list-rows").children[i]?.querySelector("svg");
      const course = section === null ? this.#courses.get(property) : undefined;
      if (svg && course) {
        drawSparkline(
          svg,
          course.buckets.filter(({ partial }) => !partial),
        );
      }
    }
  }

  /** @param {Top} top @param {View} view */
  #showHead({ entries, size }, view) {
    const kind = view.property === null ? "Properties" : isOfItems(view) ? "Items" : "Sections";
    const hasTabs = view.property !== null && view.section === null;
    byId("tabs").hidden = !hasTabs;
    if (hasTabs) {
      showTabs(view);
    }
    setText(byId("list-title"), kind);
    byId("list-title").classList.toggle("visually-hidden", hasTabs);
    setText(byId("list-of"), size > entries.length ? `${number(entries.length)} of ${number(size)}` : "");
    setText(byId("list-name"), kind.replace(/ies$/, "y").replace(/s$/, ""));
    setText(byId("list-none"), size === 0 ? "Nothing was counted in this range." : "");
    byId("list").dataset.kind = kind.toLowerCase();
    const rows = ROWS.find((each) => each > view.rows);
    byId("more").hidden = rows === undefined || size <= entries.length;
    setAttribute(byId("more"), "href", formatView({ ...view, rows: rows ?? view.rows }));
    setText(byId("more"), `Show ${number(Math.min(size, rows ?? size))}`);
  }
}

/** @param {View} view */
const isOfItems = (view) => view.section !== null || view.list === "items";

/** @param {View} view */
function showTabs(view) {
  keep(
    byId("tabs"),
    /** @type {const} */ (["sections", "items"]),
    (list) => list,
    (list) => element("a", {}, list === "items" ? "Items" : "Sections"),
    (link, list) => {
      setAttribute(link, "href", formatView({ ...view, list, rows: ROWS[0] ?? 0 }));
      setAttribute(link, "aria-current", view.list === list && "true");
    },
  );
}

/** @param {Entry} entry */
const entryKey = ({ property, section, item }) => JSON.stringify([property, section, item]);

/** @param {Entry} entry */
function makeRow({ section }) {
  const name = element(
    "th",
    { class: "name", scope: "row" },
    element("a"),
    element("small"),
    element("span", { class: "share-bar" }),
  );
  const spark = element("td", { class: "spark-cell" });
  if (section === null) {
    spark.append(makeSparkline());
  }
  return element("tr", {}, name, spark, ...cells(["number", "number share quiet", "number compared"]));
}

/** @param {HTMLElement} row @param {Entry} entry @param {{ top: Top, view: View, highest: number }} context */
function updateRow(row, entry, { top, view, highest }) {
  const { property, section, item, count, previous } = entry;
  const [name, , ...numbers] = row.children;
  const [link, note, bar] = name?.children ?? [];
  if (link && note && bar) {
    setText(link, entryName(entry));
    setAttribute(link, "href", formatView(within(view, { property, section, item })));
    setText(note, noteOf(entry, view));
    /** @type {HTMLElement} */ (bar).style.setProperty("--share", `${(100 * count) / highest}%`);
  }
  const texts = [
    bounded(count, top.coverage.incomplete),
    share(count, top.total),
    view.compare ? change(count, previous ?? 0) : "",
  ];
  texts.forEach((text, i) => {
    setText(/** @type {Element} */ (numbers[i]), text);
  });
}

/** The number behind a name, and the section of an item among those of others. @param {Entry} entry @param {View} view */
function noteOf({ section, item, label }, view) {
  const ids = [
    ...(section !== null && view.section === null && item !== null ? [`section ${section}`] : []),
    ...(label && item !== null ? [`item ${item}`] : []),
    ...(label && item === null && section !== null ? [`section ${section}`] : []),
  ];
  return ids.length > 0 ? ` ${ids.join(", ")}` : "";
}
