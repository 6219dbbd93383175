/** The plot of a series: bars for the range, a line for the period before, and a part of it to choose by drag or by key. */
import { barPath, colour, countAxis, timeAxis } from "./plot-style.js";

/** @import { Bucket, Series } from "./api.js" */
/** @import uPlotModule from "uplot" */

/** What index.html loads before the modules. */
const uPlot = /** @type {typeof uPlotModule} */ (Reflect.get(globalThis, "uPlot"));

const HEIGHT = 280;
const HEIGHT_SMALL = 220;

/**
 * @typedef {object} PlotOptions
 * @property {HTMLElement} place where it is drawn, and what takes the keys
 * @property {(index: number | null) => void} onPoint the bucket that is pointed at
 * @property {(start: number, end: number) => void} onChoose the range that was chosen
 */

export class Plot {
  /** @type {PlotOptions} */
  #options;
  /** @type {uPlotModule | undefined} */
  #plot;
  /** @type {Series | undefined} */
  #series;
  #zone = "UTC";
  #highlight = document.createElement("div");
  /** The buckets that the keys have chosen, both included. @type {{ anchor: number, at: number } | undefined} */
  #keys;

  /** @param {PlotOptions} options */
  constructor(options) {
    this.#options = options;
    this.#highlight.className = "highlight";
    new ResizeObserver(() => this.#resize()).observe(options.place);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.#plot?.redraw());
    options.place.addEventListener("keydown", (event) => this.#key(event));
    options.place.addEventListener("blur", () => this.#point(null));
  }

  /** @param {Series} series @param {string} zone */
  show(series, zone) {
    const isSameShape = this.#plot !== undefined && zone === this.#zone;
    this.#series = series;
    this.#zone = zone;
    if (isSameShape) {
      this.#plot?.setData(this.#data());
    } else {
      this.clear();
      this.#series = series;
      this.#plot = new uPlot(this.#uplotOptions(), this.#data(), this.#options.place);
      this.#plot.over.append(this.#highlight);
    }
  }

  clear() {
    this.#plot?.destroy();
    this.#plot = undefined;
    this.#series = undefined;
    this.#keys = undefined;
  }

  get #buckets() {
    return this.#series?.buckets ?? [];
  }

  /** Times, whole buckets, those that are not whole, and the period before; the last time is the end of the last bucket. */
  #data() {
    const { buckets = [], previous = [], previousTotal = null } = this.#series ?? {};
    const isWhole = (/** @type {Bucket} */ { partial, incomplete }) => !partial && !incomplete;
    const before = buckets.map((_, i) => (previousTotal ? (previous[i]?.count ?? null) : null));
    return /** @type {uPlotModule.AlignedData} */ ([
      [...buckets.map(({ start }) => start / 1000), (buckets.at(-1)?.end ?? 0) / 1000],
      [...buckets.map((bucket) => (isWhole(bucket) ? bucket.count : null)), null],
      [...buckets.map((bucket) => (isWhole(bucket) ? null : bucket.count)), null],
      [...before, before.at(-1) ?? null],
    ]);
  }

  /** @returns {uPlotModule.Options} */
  #uplotOptions() {
    const line = uPlot.paths.stepped?.({ align: 1 });
    if (line === undefined) {
      throw new Error("this build of uPlot draws no steps");
    }
    /** @type {uPlotModule.Series} */
    const bar = {
      paths: (plot, index) => barPath(plot, index, this.#buckets),
      width: 0,
      points: { show: false },
    };
    return {
      ...this.#size(),
      pxAlign: 1,
      legend: { show: false },
      cursor: {
        y: false,
        x: false,
        points: { show: false },
        drag: { x: true, y: false, setScale: false, dist: 4 },
      },
      scales: {
        x: {
          time: true,
          range: () => [(this.#buckets[0]?.start ?? 0) / 1000, (this.#buckets.at(-1)?.end ?? 1) / 1000],
        },
        y: { range: (_, __, max) => [0, Math.max(4, (max ?? 0) * 1.06)] },
      },
      axes: [
        timeAxis(
          () => this.#buckets,
          () => this.#zone,
        ),
        countAxis(),
      ],
      series: [
        {},
        { ...bar, fill: () => colour("--bar") },
        { ...bar, fill: () => colour("--bar-open") },
        { paths: line, width: 1.5, stroke: () => colour("--before"), points: { show: false } },
      ],
      hooks: {
        setCursor: [({ cursor }) => this.#pointer(cursor.left)],
        setSelect: [(plot) => this.#selected(plot)],
      },
    };
  }

  #size() {
    const { clientWidth } = this.#options.place;
    return { width: Math.max(200, clientWidth), height: clientWidth < 560 ? HEIGHT_SMALL : HEIGHT };
  }

  #resize() {
    const { width, height } = this.#size();
    if (this.#plot !== undefined && (this.#plot.width !== width || this.#plot.height !== height)) {
      this.#plot.setSize({ width, height });
    }
  }

  /** @param {number | undefined} left where the pointer is; negative: it has left */
  #pointer(left = -1) {
    if (this.#keys === undefined) {
      this.#point(left < 0 ? null : this.#indexAt(left));
    }
  }

  /** The bucket at a place, in pixels from the left edge of the plot. @param {number} left */
  #indexAt(left) {
    const at = (this.#plot?.posToVal(left, "x") ?? 0) * 1000;
    const after = this.#buckets.findIndex(({ start }) => start > at);
    return Math.max(0, (after === -1 ? this.#buckets.length : after) - 1);
  }

  /** @param {number | null} first @param {number | null} [last] */
  #point(first, last = first) {
    const [from, to] = [this.#buckets[first ?? -1], this.#buckets[last ?? -1]];
    const plot = this.#plot;
    this.#highlight.hidden = !from || !to || plot === undefined;
    if (from && to && plot !== undefined) {
      const left = plot.valToPos(from.start / 1000, "x");
      this.#highlight.style.left = `${left}px`;
      this.#highlight.style.width = `${plot.valToPos(to.end / 1000, "x") - left}px`;
    } else {
      this.#keys = undefined;
    }
    this.#options.onPoint(last);
  }

  /** @param {uPlotModule} plot */
  #selected(plot) {
    const { left, width } = plot.select;
    if (width > 0) {
      plot.setSelect({ left: 0, top: 0, width: 0, height: 0 }, false);
      this.#choose(this.#indexAt(left), this.#indexAt(left + width - 1));
    }
  }

  /** @param {number} first @param {number} last */
  #choose(first, last) {
    const [from, to] = [this.#buckets[first], this.#buckets[last]];
    this.#point(null);
    if (from !== undefined && to !== undefined) {
      this.#options.onChoose(from.start, to.end);
    }
  }

  /** Arrows point at a bucket, with Shift they choose from there, Enter takes the choice, Escape lets go. @param {KeyboardEvent} event */
  #key(event) {
    const last = this.#buckets.length - 1;
    const { anchor, at } = this.#keys ?? { anchor: last, at: last + 1 };
    const to = { ArrowLeft: at - 1, ArrowRight: at + 1, Home: 0, End: last }[event.key];
    if (to !== undefined && last >= 0) {
      const next = Math.min(last, Math.max(0, to));
      this.#keys = { anchor: event.shiftKey && this.#keys ? anchor : next, at: next };
      this.#point(Math.min(this.#keys.anchor, next), Math.max(this.#keys.anchor, next));
    } else if (event.key === "Enter" && this.#keys) {
      this.#choose(Math.min(anchor, at), Math.max(anchor, at));
    } else if (event.key === "Escape") {
      this.#point(null);
    } else {
      return;
    }
    event.preventDefault();
  }
}
