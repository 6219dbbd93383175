/** What the documentation shows is run as a reader would run it. */
import { type ChildProcess, execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { promisify } from "node:util";
import type { TestDatabase } from "../support/database.js";
import { ServiceProcess } from "../support/service-process.js";
import { createServiceDatabase } from "../support/stats-database.js";

const ROOT = join(import.meta.dirname, "../..");
const VIEWS = 300;

let database: TestDatabase;
let service: ServiceProcess;

beforeEach(async () => {
  database = await createServiceDatabase();
  service = await ServiceProcess.start({ DATABASE_URL: database.url });
});
afterEach(async () => {
  await service[Symbol.asyncDispose]();
  await database.close();
});

/** The rows, once the service has written all that it has. */
async function rows() {
  expect((await service.stop()).status).toBe(0);
  const result = await database.pool.query<{ property: string; section: string; item: string }>(
    "SELECT property, property_section AS section, property_id AS item FROM incoming ORDER BY property_id",
  );
  return result.rows;
}

test("examples/page-views counts each view, up to its stop by SIGTERM", async () => {
  const site: ChildProcess = spawn(process.execPath, [join(ROOT, "examples/page-views/server.js")], {
    env: { PATH: process.env.PATH, PORT: "0", STATS_URL: service.url },
    stdio: ["ignore", "pipe", "inherit"],
  });
  const exited = once(site, "exit");
  try {
    if (site.stdout === null) {
      throw new Error("the site has no standard output");
    }
    const [url] = (await once(createInterface({ input: site.stdout }), "line")) as [string];
    for (let page = 1; page <= VIEWS; page++) {
      const response = await fetch(`${url}/3/${page}`, { headers: { connection: "close" } });
      expect(await response.text()).toBe(`this is page ${page} of section 3\n`);
    }
    site.kill("SIGTERM");
    expect(await exited).toEqual([0, null]);
  } finally {
    site.kill("SIGKILL");
  }
  expect(await rows()).toEqual(
    Array.from({ length: VIEWS }, (_, n) => ({ property: "page-views", section: "3", item: `${n + 1}` })),
  );
});

/** Runs the TypeScript that a page shows, in its order, against the service. */
async function runSnippets(page: string): Promise<void> {
  const markdown = await readFile(join(ROOT, page), "utf8");
  const snippets = [...markdown.matchAll(/```ts\n(.*?)```/gs)].map(([, code]) => code);
  const code = snippets
    .join("\n")
    .replaceAll("http://localhost:3000", service.url)
    .replaceAll("./gen/", `${join(ROOT, "dist/gen")}/`);
  const folder = await mkdtemp(join(tmpdir(), "stats-snippets-"));
  try {
    await symlink(join(ROOT, "node_modules"), join(folder, "node_modules"));
    await writeFile(join(folder, "snippets.mjs"), code);
    await promisify(execFile)(process.execPath, [join(folder, "snippets.mjs")], { timeout: 20_000 });
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

test("the code in README.md does what it says", async () => {
  await runSnippets("README.md");
  const items = await rows();
  expect(items.length).toBeGreaterThanOrEqual(4);
  expect(items.every(({ property, item }) => property === "news" && item === "42")).toBe(true);
});

test("the code in docs/client.md does what it says", async () => {
  await runSnippets("docs/client.md");
  expect((await rows()).map(({ item }) => item)).toEqual(["42", "42", "42"]);
});
