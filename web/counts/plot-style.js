/** How a plot looks: its bars, its axes, and its colours, which are those of the style sheet by day and by night. */
import { ticksOf } from "./ticks.js";
import { compact } from "./words.js";

/** @import { Bucket } from "./api.js" */
/** @import uPlot from "uplot" */

const FONT = "13px system-ui, sans-serif";
/** Room for one label of the time axis, in pixels. */
const LABEL_WIDTH = 60;
/** Gaps between narrower bars take their room; steps of a whole pixel make narrower bars uneven. In pixels. */
const GAP_MIN_WIDTH = 4;
const SNAP_MIN_WIDTH = 12;
const COUNT_STEPS = [1, 2, 5]
  .flatMap((step) => Array.from({ length: 16 }, (_, power) => step * 10 ** power))
  .sort((a, b) => a - b);

/** The value of a colour of the style sheet. @param {string} name */
export function colour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name);
}

/**
 * Bars as wide as their buckets: months differ, and days on which the clock changes. What was counted is seen, however
 * little.
 *
 * @param {uPlot} plot @param {number} index of the series @param {readonly Bucket[]} buckets
 * @returns {uPlot.Series.Paths}
 */
export function barPath(plot, index, buckets) {
  const fill = new Path2D();
  const counts = plot.data[index] ?? [];
  const perBar = plot.bbox.width / Math.max(1, buckets.length);
  const gap = perBar < GAP_MIN_WIDTH ? 0 : devicePixelRatio * (perBar < SNAP_MIN_WIDTH ? 1 : 2);
  const snap = perBar < SNAP_MIN_WIDTH ? Number : Math.round;
  const base = plot.valToPos(0, "y", true);
  buckets.forEach(({ start, end }, i) => {
    const count = counts[i] ?? 0;
    if (count > 0) {
      const left = snap(plot.valToPos(start / 1000, "x", true));
      const right = snap(plot.valToPos(end / 1000, "x", true)) - gap;
      const top = Math.min(Math.round(plot.valToPos(count, "y", true)), base - 1);
      fill.rect(left, top, Math.max(1, right - left), base - top);
    }
  });
  return { fill, stroke: null };
}

/** @param {() => readonly Bucket[]} buckets @param {() => string} zone @returns {uPlot.Axis} */
export function timeAxis(buckets, zone) {
  const most = (/** @type {uPlot} */ plot) =>
    Math.max(2, Math.floor(plot.bbox.width / devicePixelRatio / LABEL_WIDTH));
  const ticks = (/** @type {uPlot} */ plot) => ticksOf(buckets(), zone(), most(plot));
  return {
    font: FONT,
    stroke: () => colour("--quiet"),
    size: 48,
    gap: 4,
    splits: (plot) => ticks(plot).map(({ at }) => at / 1000),
    values: (plot) => ticks(plot).map(({ label }) => label),
    grid: { show: false },
    ticks: { stroke: () => colour("--rule"), width: 1, size: 5 },
    border: { show: true, stroke: () => colour("--axis"), width: 1 },
  };
}

/** @returns {uPlot.Axis} */
export function countAxis() {
  return {
    font: FONT,
    stroke: () => colour("--quiet"),
    size: (_, values) => 16 + 8 * Math.max(2, ...(values ?? []).map((value) => value?.length ?? 0)),
    gap: 6,
    space: 44,
    incrs: COUNT_STEPS,
    values: (_, splits) => splits.map((value) => compact(value)),
    grid: { stroke: () => colour("--rule"), width: 1 },
    ticks: { show: false },
  };
}
