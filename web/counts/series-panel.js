/** The sum of a range, its plot, and the table behind the plot. */

import { seriesCsv } from "./csv.js";
import { byId, download, element, keep, setAttribute, setText } from "./dom.js";
import { Plot } from "./plot.js";
import { shortName } from "./range.js";
import { bounded, bucketName, bucketNotes, change, number, rangeName } from "./words.js";

/** @import { Coverage, Series } from "./api.js" */

/** @typedef {{ series: Series, zone: string, fileName: string }} PlotShown */

/** A finger scrolls where a mouse drags. */
const HINT = matchMedia("(any-pointer: fine)").matches
  ? "Drag across the plot to choose a range."
  : "Tap the plot to read a count.";

const details = /** @type {HTMLDetailsElement} */ (byId("series-details"));

export class SeriesPanel {
  #plot;
  /** @type {PlotShown | undefined} */
  #shown;
  /** @type {number | null} */
  #pointed = null;

  /** @param {(start: number, end: number) => void} onChoose gets the range that was chosen in the plot */
  constructor(onChoose) {
    this.#plot = new Plot({
      place: byId("plot"),
      onChoose,
      onPoint: (index) => {
        this.#pointed = index;
        this.#showReadout();
      },
    });
    details.addEventListener("toggle", () => this.#showTable());
    byId("series-csv").addEventListener("click", () => {
      if (this.#shown !== undefined) {
        download(`${this.#shown.fileName}.csv`, seriesCsv(this.#shown.series));
      }
    });
  }

  /** @param {PlotShown} shown @param {string} title */
  show(shown, title) {
    this.#shown = shown;
    byId("plot-figure").hidden = false;
    setText(
      byId("plot-caption"),
      `Counts of ${title}, by ${shortName(shown.series.granularity)?.replace("_", " ")}`,
    );
    this.#plot.show(shown.series, shown.zone);
    this.#showReadout();
    this.#showTable();
  }

  hide() {
    this.#shown = undefined;
    this.#plot.clear();
    byId("plot-figure").hidden = true;
  }

  #showReadout() {
    const { series, zone } = this.#shown ?? {};
    const bucket = series?.buckets[this.#pointed ?? -1];
    const plot = byId("plot");
    setAttribute(plot, "aria-valuemax", Math.max(0, (series?.buckets.length ?? 0) - 1));
    setAttribute(plot, "aria-valuenow", this.#pointed ?? 0);
    if (series === undefined || zone === undefined || bucket === undefined) {
      setText(byId("readout"), HINT);
      setAttribute(plot, "aria-valuetext", "no part chosen");
      return;
    }
    const before = series.previous[this.#pointed ?? -1];
    const name = bucketName(bucket, shortName(series.granularity) ?? "", zone);
    const notes = bucketNotes(bucket, Date.now());
    const compared = before ? `; before: ${number(before.count)}` : "";
    const text = `${name}: ${bounded(bucket.count, bucket.incomplete)}${notes && ` (${notes})`}${compared}`;
    setText(byId("readout"), text);
    setAttribute(plot, "aria-valuetext", text);
  }

  #showTable() {
    const { series, zone } = this.#shown ?? {};
    if (!details.open || series === undefined || zone === undefined) {
      return;
    }
    const granularity = shortName(series.granularity) ?? "";
    const now = Date.now();
    const rows = series.buckets.map((bucket, i) => ({ bucket, before: series.previous[i] ?? null }));
    keep(
      byId("series-rows"),
      rows,
      ({ bucket }) => String(bucket.start),
      () =>
        element(
          "tr",
          {},
          element("th", { scope: "row" }),
          ...cells(["number", "number compared", "number compared", "quiet"]),
        ),
      (row, { bucket, before }) => {
        const texts = [
          bucketName(bucket, granularity, zone),
          bounded(bucket.count, bucket.incomplete),
          before === null ? "" : number(before.count),
          before === null ? "" : change(bucket.count, before.count),
          bucketNotes(bucket, now),
        ];
        texts.forEach((text, i) => {
          setText(/** @type {Element} */ (row.children[i]), text);
        });
      },
    );
  }
}

/** @param {readonly string[]} classes */
export const cells = (classes) => classes.map((name) => element("td", { class: name }));

/** @param {{ total: number, previousTotal: number | null, coverage: Coverage }} sum @param {string} zone */
export function showSum({ total, previousTotal, coverage }, zone) {
  setText(byId("total"), bounded(total, coverage.incomplete));
  const before =
    previousTotal === 0 ? "nothing in the period before" : `${number(previousTotal ?? 0)} before`;
  const differs = previousTotal ? `${change(total, previousTotal)}  ·  ` : "";
  setText(byId("change"), previousTotal === null ? "" : `${differs}${before}`);
  setText(byId("counted"), `${rangeName(coverage, zone, Date.now())}  ·  ${zone}`);
}
