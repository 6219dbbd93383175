/** What the page shows, as a plain value, and how the URL holds it; it touches no document. */
import { browserZone, isZone } from "./zone.js";

/**
 * `from` and `to` are Unix times in milliseconds, for a range that is no preset. `by` is a granularity of the contract
 * without its prefix, in lower case, or "auto". `list` is what the list below the plot has.
 *
 * @typedef {{ property: string | null, section: number | null, item: number | null, range: string,
 *   from: number | null, to: number | null, by: string, compare: boolean, zone: string, list: "sections" | "items",
 *   rows: number }} View
 */

export const PRESETS = /** @type {const} */ ([
  ["today", "Today"],
  ["24h", "24 hours"],
  ["7d", "7 days"],
  ["30d", "30 days"],
  ["90d", "90 days"],
  ["12m", "12 months"],
]);
const DEFAULT_RANGE = "7d";

export const GRANULARITIES = /** @type {const} */ ([
  ["auto", "automatic"],
  ["quarter_hour", "15 minutes"],
  ["hour", "hour"],
  ["day", "day"],
  ["week", "week"],
  ["month", "month"],
]);

/** How many rows of a list are shown; the service gives at most the last. */
export const ROWS = [20, 100, 1_000];
const ID_MAX = 4_294_967_295;

/** The view that a URL's query holds. What makes no sense in it counts as absent. @param {string} query @returns {View} */
export function parseView(query) {
  const params = new URLSearchParams(query);
  const property = params.get("property") || null;
  const section = property === null ? null : readId(params.get("section"));
  const from = readTime(params.get("from"));
  const to = readTime(params.get("to"));
  const isCustom = from !== null && to !== null && from < to;
  const zone = params.get("zone") ?? "";
  return {
    property,
    section,
    item: section === null ? null : readId(params.get("item")),
    range: isCustom
      ? "custom"
      : oneOf(
          PRESETS.map(([id]) => id),
          params.get("range"),
          DEFAULT_RANGE,
        ),
    from: isCustom ? from : null,
    to: isCustom ? to : null,
    by: oneOf(
      GRANULARITIES.map(([id]) => id),
      params.get("by"),
      "auto",
    ),
    compare: params.get("compare") !== "off",
    zone: isZone(zone) ? zone : browserZone(),
    list: params.get("list") === "items" ? "items" : "sections",
    rows: ROWS.find((rows) => String(rows) === params.get("rows")) ?? ROWS[0] ?? 0,
  };
}

/** The query of a URL for a view. The zone is always in it: who is sent the view sees the same days. @param {View} view */
export function formatView(view) {
  /** @type {[string, string | number | null][]} */
  const params = [
    ["property", view.property],
    ["section", view.section],
    ["item", view.item],
    ["range", view.range === "custom" ? null : view.range],
    ["from", formatTime(view.from)],
    ["to", formatTime(view.to)],
    ["by", view.by === "auto" ? null : view.by],
    ["compare", view.compare ? null : "off"],
    ["list", view.list === "sections" ? null : view.list],
    ["rows", view.rows === ROWS[0] ? null : view.rows],
    ["zone", view.zone],
  ];
  const given = params.filter(([, value]) => value !== null);
  return `?${given.map(([name, value]) => `${name}=${encode(String(value))}`).join("&")}`;
}

/** As encodeURIComponent, but people can still read a zone and a time. @param {string} text */
const encode = (text) => encodeURIComponent(text).replaceAll("%2F", "/").replaceAll("%3A", ":");

/** The view one step down: of a property, section or item of this one. @param {View} view @param {Partial<View>} key @returns {View} */
export function within(view, key) {
  return { ...view, property: null, section: null, item: null, list: "sections", rows: ROWS[0] ?? 0, ...key };
}

/** @param {string | null} text */
function readId(text) {
  const id = Number(text);
  return text !== null && /^\d+$/.test(text) && id >= 1 && id <= ID_MAX ? id : null;
}

/** @param {string | null} text */
function readTime(text) {
  const at = Date.parse(text ?? "");
  return Number.isNaN(at) ? null : at;
}

/** In minutes, which no bucket needs to be finer than. @param {number | null} at */
const formatTime = (at) => (at === null ? null : `${new Date(at).toISOString().slice(0, 16)}Z`);

/** @param {readonly string[]} known @param {string | null} value @param {string} fallback */
const oneOf = (known, value, fallback) => (value !== null && known.includes(value) ? value : fallback);
