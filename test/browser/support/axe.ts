/** Looks for what keeps people from using a page: contrast, names, roles, order (https://github.com/dequelabs/axe-core). */
import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import type { Page } from "./page.js";

const SOURCE = createRequire(import.meta.url).resolve("axe-core/axe.min.js");

/** Each rule that what the page shows now breaks, with the elements that break it. */
export async function findBarriers(page: Page): Promise<string[]> {
  await page.evaluate(`${await readFile(SOURCE, "utf8")}; undefined`);
  return page.evaluate(`axe.run(document).then(({ violations }) =>
    violations.flatMap(({ id, nodes }) => nodes.map(({ target, failureSummary }) =>
      id + ": " + target + ": " + failureSummary)))`);
}
