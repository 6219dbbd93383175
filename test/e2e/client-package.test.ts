/** The client as other packages see it: by the package's name, with its types, in Node and in browsers. */
import { execFile } from "node:child_process";
import { mkdir, mkdtemp, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { builtinModules } from "node:module";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { promisify } from "node:util";
import { freePort } from "../support/free-port.js";

const run = promisify(execFile);
const ROOT = join(import.meta.dirname, "../..");
const TSC = join(ROOT, "node_modules/typescript/bin/tsc");

let project: string;

beforeEach(async () => {
  project = await mkdtemp(join(tmpdir(), "stats-consumer-"));
  await mkdir(join(project, "node_modules"));
  await symlink(ROOT, join(project, "node_modules/stats-service"));
  await writeFile(join(project, "package.json"), JSON.stringify({ type: "module" }));
});

afterEach(() => rm(project, { recursive: true, force: true }));

const CONSUMER = `
import { createBufferingClient, createStatsClient, AckMode, UndeliveredError } from "stats-service/client";
import type { BufferingClient, BufferingCounters, Failure, Rejection, StatsClient, StatsEvent } from "stats-service/client";

const client: StatsClient = createStatsClient("http://localhost:3000", { token: async () => "secret", timeoutMs: 100 });
export const one: Promise<unknown> = client.push({ property: "news", section: 3, item: 42, ack: AckMode.DURABLE });
const { accepted, rejections } = await client.pushBatch({ events: [{ property: "news", section: 3, item: 42 }] });
export const sum: number = accepted + rejections.length;

const event: StatsEvent = { property: "news", section: 3, item: 42 };
const stats: BufferingClient = createBufferingClient(new URL("http://localhost:3000"), {
  ack: "durable",
  headers: { "x-team": "blue" },
  onRejected: ({ event: { property }, reason }: Rejection) => void [property, reason],
  onError: ({ error, retryInMs }: Failure) => void [error.code, retryInMs],
});
export const taken: boolean = stats.push(event);
// @ts-expect-error: an id is a number
stats.push({ property: "news", section: 3, item: "42" });
// @ts-expect-error: there is no such mode
createBufferingClient("http://localhost:3000", { ack: "sometimes" });
// @ts-expect-error: counters are read only
stats.counters.pushed = 1;
export const counters: BufferingCounters = stats.counters;
await stats.flush({ timeoutMs: 100 }).catch((error: unknown) => error instanceof UndeliveredError);
export const left: number = (await stats.close()).undelivered;
`;

/** Checks the consumer's types; throws what the compiler prints. */
async function compile(compilerOptions: Record<string, unknown>): Promise<void> {
  await writeFile(join(project, "consumer.ts"), CONSUMER);
  const options = { target: "es2022", strict: true, exactOptionalPropertyTypes: true, noEmit: true };
  const config = { compilerOptions: { ...options, ...compilerOptions }, include: ["consumer.ts"] };
  await writeFile(join(project, "tsconfig.json"), JSON.stringify(config));
  await run(process.execPath, [TSC, "-p", project]).catch((error: unknown) => {
    throw new Error((error as { stdout: string }).stdout);
  });
}

test("its types serve a project for browsers, declarations checked", async () => {
  await compile({
    module: "esnext",
    moduleResolution: "bundler",
    lib: ["es2022", "dom", "esnext.disposable"],
    types: [],
    skipLibCheck: false,
  });
});

test("its types serve a project for Node", async () => {
  await compile({
    module: "nodenext",
    lib: ["es2023"],
    types: ["node"],
    typeRoots: [join(ROOT, "node_modules/@types")],
    skipLibCheck: true,
  });
});

/** What one module imports, by the compiled text. */
function specifiers(code: string): string[] {
  const found = code.matchAll(
    /(?:^\s*(?:import|export)\b[^;"'()=]*?\bfrom\s*|^\s*import\s*|\bimport\(\s*)["']([^"']+)["']/gm,
  );
  return [...found].map(([, specifier]) => specifier as string);
}

/** The file of a module of a package, as an ESM bundler resolves it. */
async function packageFile(specifier: string): Promise<string> {
  const [scope, name, ...rest] = specifier.split("/");
  const folder = join(ROOT, "node_modules", `${scope}/${name}`);
  const { exports } = JSON.parse(await readFile(join(folder, "package.json"), "utf8"));
  const entry = exports[[".", ...rest].join("/")];
  return join(folder, entry.import.default ?? entry.import);
}

test("browsers can load it: nothing that it imports, however far, is Node's", async () => {
  const files = [join(ROOT, "dist/client/src/index.js")];
  const visited = new Set<string>();
  const packages = new Set<string>();
  for (let file = files.pop(); file !== undefined; file = files.pop()) {
    if (visited.has(file)) {
      continue;
    }
    visited.add(file);
    for (const specifier of specifiers(await readFile(file, "utf8"))) {
      expect([file, specifier.startsWith("node:") || builtinModules.includes(specifier)]).toEqual([
        file,
        false,
      ]);
      const isRelative = specifier.startsWith(".");
      if (!isRelative) {
        packages.add(specifier.split("/").slice(0, 2).join("/"));
      }
      files.push(isRelative ? join(dirname(file), specifier) : await packageFile(specifier));
    }
  }
  expect([...packages].sort()).toEqual(["@bufbuild/protobuf", "@connectrpc/connect"]);
  expect(visited.size).toBeGreaterThan(50);
});

/** Runs a script of the consumer's; resolves with what it prints. */
async function runScript(code: string): Promise<string> {
  await writeFile(join(project, "script.js"), code);
  const { stdout } = await run(process.execPath, [join(project, "script.js")], { timeout: 20_000 });
  return stdout;
}

test("it does not keep a process alive that is done", async () => {
  const url = `http://127.0.0.1:${await freePort()}`;
  const stdout = await runScript(`
    import { createBufferingClient } from "stats-service/client";
    const tried = new Promise((resolve) => {
      globalThis.stats = createBufferingClient("${url}", { batchEvents: 1, onError: resolve });
    });
    stats.push({ property: "news", section: 3, item: 42 });
    await tried;
    stats.push({ property: "news", section: 3, item: 43 });
    process.on("exit", () => console.log(JSON.stringify(stats.counters)));
  `);
  expect(JSON.parse(stdout)).toMatchObject({ pushed: 2, buffered: 2 });
});

test("a process that waits for its close lives until that is over", async () => {
  const url = `http://127.0.0.1:${await freePort()}`;
  const stdout = await runScript(`
    import { createBufferingClient } from "stats-service/client";
    const stats = createBufferingClient("${url}");
    stats.push({ property: "news", section: 3, item: 42 });
    console.log(JSON.stringify(await stats.close({ timeoutMs: 700 })));
  `);
  expect(JSON.parse(stdout)).toEqual({ undelivered: 1 });
});

test("a process that waits for room lives until the wait is over", async () => {
  const url = `http://127.0.0.1:${await freePort()}`;
  const stdout = await runScript(`
    import { createBufferingClient } from "stats-service/client";
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
  const stdout = await runScript(`
    import { createBufferingClient } from "stats-service/client";
    process.on("uncaughtException", ({ message }) => console.log(message, JSON.stringify(stats.counters)));
    const onRejected = () => { throw new Error("mine"); };
    const stats = createBufferingClient("http://127.0.0.1:1", { onRejected });
    stats.push({ property: "", section: 1, item: 1 });
  `);
  expect(stdout).toMatch(/^mine \{"pushed":1,"acknowledged":0,"rejected":1,/);
});
