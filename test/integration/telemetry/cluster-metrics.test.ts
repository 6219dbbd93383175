import { execFile } from "node:child_process";
import { join } from "node:path";
import { promisify } from "node:util";
import { Scrape } from "../../support/scrape.js";

const PROGRAM = join(import.meta.dirname, "../../support/metrics-cluster.js");

test("the primary of a cluster serves the metrics of all its workers as one", async () => {
  const { stdout } = await promisify(execFile)(process.execPath, [PROGRAM]);
  const scrape = new Scrape(stdout);
  expect(stdout).toContain("# 200 text/plain; version=0.0.4");
  expect(scrape.sum("stats_rpc_unhandled_requests_total", "malformed")).toBe(6);
  expect(scrape.sum("stats_build_info")).toBe(1);
});
