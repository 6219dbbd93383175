/** A small line of a series, next to its number; it says nothing that the number and the series' own page do not. */
/** @import { Bucket } from "./api.js" */

const SVG = "http://www.w3.org/2000/svg";
const WIDTH = 120;
const HEIGHT = 28;

/** @returns {SVGSVGElement} */
export function makeSparkline() {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("class", "spark");
  svg.setAttribute("viewBox", `0 0 ${WIDTH} ${HEIGHT}`);
  svg.setAttribute("preserveAspectRatio", "none");
  svg.setAttribute("aria-hidden", "true");
  svg.append(document.createElementNS(SVG, "path"), document.createElementNS(SVG, "path"));
  return svg;
}

/** @param {SVGSVGElement} svg @param {readonly Bucket[]} buckets */
export function drawSparkline(svg, buckets) {
  const line = linePath(buckets.map(({ count }) => count));
  svg.children[0]?.setAttribute("d", line && `${line}V${HEIGHT}H0Z`);
  svg.children[1]?.setAttribute("d", line);
}

/** SVG path data: a step for each count, the highest at the upper edge. @param {readonly number[]} counts */
export function linePath(counts) {
  const top = Math.max(1, ...counts);
  const width = WIDTH / Math.max(1, counts.length);
  const steps = counts.map((count, i) => {
    const y = (HEIGHT - 1 - (count * (HEIGHT - 3)) / top).toFixed(1);
    return `${i === 0 ? `M0 ${y}` : `V${y}`}H${((i + 1) * width).toFixed(1)}`;
  });
  return steps.join("");
}
