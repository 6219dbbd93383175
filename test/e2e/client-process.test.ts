/** How a process of Node's ends that uses the client. */
import { execFile } from "node:child_process";
import { mkdtemp, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { freePort } from "../support/free-port.js";
import { ServiceProcess } from "../support/service-process.js";
import { createServiceDatabase } from "../support/stats-database.js";

const ROOT = join(import.meta.dirname, "../..");

let folder: string;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "stats-process-"));
  await symlink(join(ROOT, "node_modules"), join(folder, "node_modules"));
});

afterEach(() => rm(folder, { recursive: true, force: true }));

/** Runs a script; resolves with what it prints, and fails when its status is another than 0. */
async function runScript(code: string): Promise<{ stdout: string; stderr: string }> {
  const script = join(folder, "script.mjs");
  await writeFile(script, code);
  return await promisify(execFile)(process.execPath, [script], { timeout: 20_000 });
}

test("a program that ends without a close leaves no event behind", async () => {
  await using database = await createServiceDatabase();
  await using service = await ServiceProcess.start({ DATABASE_URL: database.url });
  const { stderr } = await runScript(`
    import { createBufferingClient } from "@stats-service/client";
    const stats = createBufferingClient("${service.url}", { ack: "durable" });
    for (let item = 1; item <= 2_500; item++) stats.push({ property: "news", section: 3, item });
  `);
  expect(stderr).toBe("");
  const { rows } = await database.pool.query("SELECT count(*) AS n FROM incoming");
  expect(rows).toEqual([{ n: "2500" }]);
});

test("a program that cannot deliver its events ends soon, with one warning", async () => {
  const url = `http://127.0.0.1:${await freePort()}`;
  const { stdout, stderr } = await runScript(`
    import { createBufferingClient } from "@stats-service/client";
    const stats = createBufferingClient("${url}");
    stats.push({ property: "news", section: 3, item: 42 });
    stats.push({ property: "news", section: 3, item: 43 });
    process.on("exit", () => console.log(JSON.stringify(stats.counters)));
  `);
  expect(JSON.parse(stdout)).toMatchObject({ pushed: 2, buffered: 2 });
  expect(stderr).toMatch(
    /^stats-service client: the program ends with 2 events that were not delivered: .*ECONNREFUSED.*\n$/,
  );
});

test("many clients at a time cost no warning of Node's", async () => {
  const { stderr } = await runScript(`
    import { createBufferingClient } from "@stats-service/client";
    const clients = Array.from({ length: 20 }, () => createBufferingClient("http://127.0.0.1:1", { warnings: false }));
    for (const client of clients) client.push({ property: "news", section: 3, item: 42 });
    await Promise.all(clients.map((client) => client.close({ timeoutMs: 0 })));
  `);
  expect(stderr).toBe("");
});

test("a process that waits for its close lives until that is over", async () => {
  const url = `http://127.0.0.1:${await freePort()}`;
  const { stdout } = await runScript(`
    import { createBufferingClient } from "@stats-service/client";
    const stats = createBufferingClient("${url}");
    stats.push({ property: "news", section: 3, item: 42 });
    console.log(JSON.stringify(await stats.close({ timeoutMs: 700 })));
  `);
  expect(JSON.parse(stdout)).toEqual({ undelivered: 1 });
});

test("a process that waits for room lives until the wait is over", async () => {
  const url = `http://127.0.0.1:${await freePort()}`;
  const { stdout } = await runScript(`
    import { createBufferingClient } from "@stats-service/client";
    let failures = 0;
    const onError = () => { if (++failures === 3) void stats.close({ timeoutMs: 0 }); };
    const stats = createBufferingClient("${url}", { maxEvents: 1, batchEvents: 1, onError });
    stats.push({ property: "news", section: 3, item: 42 });
    await stats.whenRoom();
    console.log("over after failures:", failures);
  `);
  expect(stdout).toBe("over after failures: 3\n");
});

test("an error in a callback surfaces as one that nobody caught, and harms nothing", async () => {
  const { stdout } = await runScript(`
    import { createBufferingClient } from "@stats-service/client";
    process.on("uncaughtException", ({ message }) => console.log(message, JSON.stringify(stats.counters)));
    const onRejected = () => { throw new Error("mine"); };
    const stats = createBufferingClient("http://127.0.0.1:1", { onRejected });
    stats.push({ property: "", section: 1, item: 1 });
  `);
  expect(stdout).toMatch(/^mine \{"pushed":1,"acknowledged":0,"rejected":1,/);
});
